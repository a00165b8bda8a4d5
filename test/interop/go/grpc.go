package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	pb "github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// connect opens a plain gRPC connection to the agent, as tools do that know nothing of SPIFFE.
func connect(options ...grpc.DialOption) (*grpc.ClientConn, error) {
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return grpc.NewClient(os.Getenv("SPIFFE_ENDPOINT_SOCKET"), options...)
}

// reflect asks one question as grpcurl does.
func reflect(
	ctx context.Context, question *grpc_reflection_v1.ServerReflectionRequest,
) (*grpc_reflection_v1.ServerReflectionResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	conn, err := connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.Send(question); err != nil {
		return nil, err
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if failure := answer.GetErrorResponse(); failure != nil {
		return nil, fmt.Errorf("%d: %s", failure.GetErrorCode(), failure.GetErrorMessage())
	}
	return answer, nil
}

// services lists what the socket offers.
func services(ctx context.Context) (any, error) {
	answer, err := reflect(ctx, &grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	})
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, service := range answer.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	slices.Sort(names)
	return names, nil
}

// describe resolves the descriptors of a service, with all that they import, and lists its methods.
func describe(ctx context.Context, service string) (any, error) {
	answer, err := reflect(ctx, &grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service},
	})
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, raw := range answer.GetFileDescriptorResponse().GetFileDescriptorProto() {
		file := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(raw, file); err != nil {
			return nil, err
		}
		set.File = append(set.File, file)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, err
	}
	found, err := files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, err
	}
	described, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is no service", service)
	}
	methods := []string{}
	for i := range described.Methods().Len() {
		methods = append(methods, string(described.Methods().Get(i).Name()))
	}
	return methods, nil
}

// health asks grpc.health.v1, as a Kubernetes probe does.
func health(ctx context.Context, service string) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	conn, err := connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
	if err != nil {
		return nil, err
	}
	return answer.GetStatus().String(), nil
}

// fetchAs fetches two X.509-SVIDs, one after the other on one connection, under an :authority of the test's choosing.
func fetchAs(ctx context.Context, authority string) (any, error) {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", "true"), deadline)
	defer cancel()
	conn, err := connect(grpc.WithAuthority(authority))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ids := []string{}
	for range 2 {
		stream, err := pb.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(ctx, &pb.X509SVIDRequest{})
		if err != nil {
			return nil, err
		}
		answer, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		for _, svid := range answer.GetSvids() {
			ids = append(ids, svid.GetSpiffeId())
		}
	}
	return ids, nil
}
