// Tells the kubelet of a CSI driver that listens beside it, as csi-node-driver-registrar does, with its arguments and in its places: that
// one is no Go module from its version 2 on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Where the kubelet looks for sockets of plugins, as its pod has it.
const plugins = "/registration"

type registrar struct {
	registration.UnimplementedRegistrationServer
	info   *registration.PluginInfo
	failed chan<- error
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return r.info, nil
}

func (r *registrar) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		r.failed <- errors.New(status.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}

func main() {
	address := flag.String("csi-address", "", "the driver's socket")
	endpoint := flag.String("kubelet-registration-path", "", "the driver's socket, as the kubelet finds it")
	health := flag.String("http-endpoint", "", "where /healthz is")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *address, *endpoint, *health); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Returns without an error when it is told to stop.
func run(ctx context.Context, address, endpoint, health string) error {
	name, err := nameOf(ctx, address)
	if err != nil {
		return err
	}
	path := filepath.Join(plugins, name+"-reg.sock")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	syscall.Umask(0o077)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	server := grpc.NewServer()
	info := &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              name,
		Endpoint:          endpoint,
		SupportedVersions: []string{"1.0.0"},
	}
	registration.RegisterRegistrationServer(server, &registrar{info: info, failed: failed})
	go func() { failed <- server.Serve(listener) }()
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	go func() { failed <- http.ListenAndServe(health, nil) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		// Closing it takes the file away, by which the kubelet knows.
		return listener.Close()
	}
}

// The driver's name. Waits until it listens.
func nameOf(ctx context.Context, address string) (string, error) {
	connection, err := grpc.NewClient("unix:"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer connection.Close()
	info, err := csi.NewIdentityClient(connection).GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return "", err
	}
	return info.Name, nil
}
