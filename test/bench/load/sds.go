package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

// mixedFollower opens one of the ways in which an identity is followed: a third each by the Workload API and by the two
// ways of SDS.
func mixedFollower(ctx context.Context, e endpoint, i int) (follower, error) {
	conn, err := dialSmall(e)
	if err != nil {
		return nil, err
	}
	switch i % 3 {
	case 0:
		stream, err := workload.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(ctx, &workload.X509SVIDRequest{})
		if err != nil {
			return nil, err
		}
		return func() (digest, error) {
			message, err := stream.Recv()
			if err != nil {
				return digest{}, err
			}
			if len(message.GetSvids()) == 0 {
				return digest{}, &badMessage{"the response holds no X.509-SVID"}
			}
			return leafDigest(message.GetSvids()[0].GetX509Svid())
		}, nil
	case 1:
		return followSecrets(ctx, conn, stateOfTheWorld)
	default:
		return followSecrets(ctx, conn, delta)
	}
}

// xds is one way of xDS on the wire: the field numbers of its requests and responses (envoy.service.discovery.v3).
type xds struct {
	method                       string
	typeURL, names, requestNonce protowire.Number
	resource, responseNonce      protowire.Number
	// ackNames says that an acknowledgement names what is wanted again.
	ackNames bool
}

var (
	stateOfTheWorld = xds{"StreamSecrets", 4, 3, 5, 2, 5, true}
	delta           = xds{"DeltaSecrets", 2, 3, 6, 2, 5, false}
)

const secretType = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

// followSecrets asks for the first identity, and acknowledges each response as a proxy does.
func followSecrets(ctx context.Context, conn *grpc.ClientConn, x xds) (follower, error) {
	both := &grpc.StreamDesc{StreamName: x.method, ServerStreams: true, ClientStreams: true}
	method := "/envoy.service.secret.v3.SecretDiscoveryService/" + x.method
	stream, err := conn.NewStream(ctx, both, method, grpc.ForceCodec(rawCodec{}))
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(x.request("", true)); err != nil {
		return nil, err
	}
	return func() (digest, error) {
		var response []byte
		if err := stream.RecvMsg(&response); err != nil {
			return digest{}, err
		}
		secret, nonce, err := x.read(response)
		if err != nil {
			return digest{}, err
		}
		if err := stream.SendMsg(x.request(nonce, x.ackNames)); err != nil {
			return digest{}, err
		}
		at := bytes.Index(secret, []byte("-----BEGIN CERTIFICATE-----"))
		if at < 0 {
			return digest{}, &badMessage{"the secret holds no certificate"}
		}
		chain, _ := pem.Decode(secret[at:])
		if chain == nil {
			return digest{}, &badMessage{"the secret holds no PEM"}
		}
		return leafDigest(chain.Bytes)
	}, nil
}

// leafDigest tells one identity from the next, whatever message its chain comes in.
func leafDigest(chain []byte) (digest, error) {
	certificates, err := x509.ParseCertificates(chain)
	if err != nil || len(certificates) == 0 {
		return digest{}, &badMessage{"the chain holds no certificate"}
	}
	return sha256.Sum256(certificates[0].Raw), nil
}

func (x xds) request(nonce string, named bool) []byte {
	request := protowire.AppendString(protowire.AppendTag(nil, x.typeURL, protowire.BytesType), secretType)
	if named {
		request = protowire.AppendString(protowire.AppendTag(request, x.names, protowire.BytesType), "default")
	}
	if nonce != "" {
		request = protowire.AppendString(protowire.AppendTag(request, x.requestNonce, protowire.BytesType), nonce)
	}
	return request
}

// read gives the bytes of the one resource, with whatever it is wrapped in, and the nonce.
func (x xds) read(response []byte) (secret []byte, nonce string, err error) {
	for len(response) > 0 {
		number, kind, n := protowire.ConsumeTag(response)
		if n < 0 || kind != protowire.BytesType {
			return nil, "", &badMessage{"the response holds something else than strings and messages"}
		}
		value, m := protowire.ConsumeBytes(response[n:])
		if m < 0 {
			return nil, "", &badMessage{"the response is cut short"}
		}
		switch number {
		case x.resource:
			secret = value
		case x.responseNonce:
			nonce = string(value)
		}
		response = response[n+m:]
	}
	if secret == nil || nonce == "" {
		return nil, "", &badMessage{"the response holds no secret or no nonce"}
	}
	return secret, nonce, nil
}

// rawCodec passes encoded messages on.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(message any) ([]byte, error) {
	bytes, ok := message.([]byte)
	if !ok {
		return nil, fmt.Errorf("a %T is no message", message)
	}
	return bytes, nil
}

func (rawCodec) Unmarshal(data []byte, message any) error {
	into, ok := message.(*[]byte)
	if !ok {
		return errors.New("a message has no place")
	}
	*into = append([]byte(nil), data...)
	return nil
}
