package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// endpoint is the absolute path of a Workload API socket.
type endpoint string

func parseEndpoint(address string) (endpoint, error) {
	if address == "" {
		return "", errors.New("name the Workload API socket, or set SPIFFE_ENDPOINT_SOCKET")
	}
	path := address
	if strings.HasPrefix(address, "unix:") {
		parsed, err := url.Parse(address)
		if err != nil {
			return "", err
		}
		if parsed.Host != "" || parsed.Opaque != "" || parsed.Path == "" {
			return "", fmt.Errorf("%q has no absolute path: write unix:///path", address)
		}
		path = parsed.Path
	}
	absolute, err := filepath.Abs(path)
	return endpoint(absolute), err
}

// dial returns a client connection that connects at its first call, as go-spiffe's does.
func (e endpoint) dial(extra ...grpc.DialOption) (*grpc.ClientConn, error) {
	target := url.URL{Scheme: "unix", Path: string(e)}
	return grpc.NewClient(target.String(), append(extra,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return e.connect(ctx) }),
	)...)
}

// connect waits for room in the listener's backlog: connect(2) on a Unix socket answers EAGAIN where TCP would wait,
// and gRPC would then back off for a second, which no measurement should hold.
func (e endpoint) connect(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "unix", string(e))
		if !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(time.Millisecond):
		}
	}
}

// withHeader adds the metadata that the SPIFFE Workload Endpoint specification (section 5.1) demands of every call.
func withHeader(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", "true")
}

// fetchFirst opens a connection and a stream, and returns its first message and the time from before the dial to it.
func (e endpoint) fetchFirst(timeout time.Duration) (*workload.X509SVIDResponse, time.Duration, error) {
	ctx, cancel := context.WithTimeout(withHeader(context.Background()), timeout)
	defer cancel()
	start := time.Now()
	conn, err := e.dial()
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	stream, err := workload.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	if err != nil {
		return nil, 0, err
	}
	message, err := stream.Recv()
	return message, time.Since(start), err
}

// errorText names the gRPC code as the specification spells it (PERMISSION_DENIED), which Go's own names do not.
func errorText(err error) string {
	if bad := (*badMessage)(nil); errors.As(err, &bad) {
		return "OK: " + bad.Error()
	}
	s := status.Convert(err)
	return code.Code(s.Code()).String() + ": " + s.Message()
}

// badMessage is a call that succeeded and whose message is useless.
type badMessage struct{ reason string }

func (b *badMessage) Error() string { return b.reason }

// svid is what can be told of a message's first (default) identity. Nothing of the private key is in it.
type svid struct {
	SpiffeID string `json:"spiffe_id"`
	// Serial is upper-case hex of whole bytes, as OpenSSL and Node print it.
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	// KeySHA256 is over the SubjectPublicKeyInfo.
	KeySHA256 string `json:"key_sha256"`
}

func readSVID(message *workload.X509SVIDResponse) (svid, error) {
	if len(message.GetSvids()) == 0 {
		return svid{}, &badMessage{"the response holds no X.509-SVID"}
	}
	first := message.GetSvids()[0]
	chain, err := x509.ParseCertificates(first.GetX509Svid())
	if err != nil {
		return svid{}, &badMessage{"x509_svid: " + err.Error()}
	}
	if len(chain) == 0 {
		return svid{}, &badMessage{"x509_svid is empty"}
	}
	leaf := chain[0]
	key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return svid{
		SpiffeID:  first.GetSpiffeId(),
		Serial:    fmt.Sprintf("%X", leaf.SerialNumber.Bytes()),
		NotBefore: leaf.NotBefore,
		NotAfter:  leaf.NotAfter,
		KeySHA256: hex.EncodeToString(key[:]),
	}, nil
}
