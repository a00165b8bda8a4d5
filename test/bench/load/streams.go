package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func streams(opts *options) error {
	if err := raiseFileLimit(uint64(opts.n) + 64); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(withHeader(context.Background()))
	defer cancel()
	seen := newUpdates(opts.n)
	opening := make(chan struct{}, opts.concurrency)
	for i := range opts.n {
		go func() {
			if err := follow(ctx, opts, i, opening, seen); ctx.Err() == nil {
				seen.ended(i, errorText(err))
			}
		}()
	}

	ended := stdinEnded()
	select {
	case <-seen.settled:
	case <-time.After(opts.timeout):
		return fmt.Errorf("after %s: %s", opts.timeout, seen.unready("DEADLINE_EXCEEDED"))
	case <-ended:
		return errors.New(seen.unready("CANCELLED, stdin ended"))
	}
	if !seen.allReady {
		return errors.New(seen.unready("failed"))
	}
	// The connections are left to the end of this process, as a workload's are.
	<-ended
	cancel()
	return seen.reportEnd()
}

// follow reads one stream on its own connection until it ends. opening bounds the streams between their dial and their
// first message: SPIRE's agent never answers some of several thousand callers that it attests at the same time.
func follow(ctx context.Context, opts *options, i int, opening chan struct{}, seen *updates) error {
	opening <- struct{}{}
	opened := sync.OnceFunc(func() { <-opening })
	defer opened()
	start := time.Now()
	open := x509Follower
	if opts.mixed {
		open = mixedFollower
	}
	next, err := open(ctx, opts.endpoint, i)
	if err != nil {
		return err
	}
	for {
		content, err := next()
		at := time.Now()
		opened()
		if err != nil {
			return err
		}
		seen.saw(i, start, at, content)
	}
}

// follower gives the digest of what the agent tells, each time that it tells of something.
type follower func() (digest, error)

// x509Follower follows all that FetchX509SVID tells.
func x509Follower(ctx context.Context, e endpoint, _ int) (follower, error) {
	conn, err := dialSmall(e)
	if err != nil {
		return nil, err
	}
	stream, err := workload.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return func() (digest, error) {
		message, err := stream.Recv()
		if err != nil {
			return digest{}, err
		}
		encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
		return sha256.Sum256(encoded), err
	}, nil
}

// dialSmall spares memory: with gRPC's 32 KiB buffers each way, thousands of connections would take that of the machine
// that they measure.
func dialSmall(e endpoint) (*grpc.ClientConn, error) {
	return e.dial(grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10), grpc.WithSharedWriteBuffer(true))
}

func raiseFileLimit(need uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	if limit.Cur >= need {
		return nil
	}
	wanted := syscall.Rlimit{Cur: need, Max: max(limit.Max, need)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &wanted); err != nil {
		return fmt.Errorf("RLIMIT_NOFILE: %d files are needed and %d allowed (%w): raise the hard limit (ulimit -Hn)", need, limit.Max, err)
	}
	return nil
}

// rotate behaves as go-spiffe's X509Source when a stream ends: CANCELLED and INVALID_ARGUMENT are the end, after
// anything else it asks again, a second later for each failure in a row, and never later than 30 s.
func rotate(opts *options) error {
	ctx, cancel := context.WithCancel(withHeader(context.Background()))
	defer cancel()
	ended := stdinEnded()
	go func() {
		<-ended
		cancel()
	}()
	conn, err := opts.endpoint.dial()
	if err != nil {
		return err
	}
	defer conn.Close()

	for failures := 0; ; {
		before := time.Now()
		heard, err := watch(ctx, conn)
		if ctx.Err() != nil {
			return nil
		}
		if heard {
			failures = 0
		}
		failures++
		final := status.Code(err) == codes.Canceled || status.Code(err) == codes.InvalidArgument
		if err := report(struct {
			Event string  `json:"event"`
			At    float64 `json:"ms_unix"`
			After float64 `json:"stream_ms"`
			Error string  `json:"error"`
			Final bool    `json:"final"`
		}{"error", unixMilliseconds(time.Now()), milliseconds(time.Since(before)), errorText(err), final}); err != nil {
			return err
		}
		retry := time.After(min(time.Duration(failures)*time.Second, 30*time.Second))
		if final {
			retry = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-retry:
		}
	}
}

func watch(ctx context.Context, conn *grpc.ClientConn) (heard bool, err error) {
	stream, err := workload.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	if err != nil {
		return false, err
	}
	for {
		message, err := stream.Recv()
		at := time.Now()
		if err != nil {
			return heard, err
		}
		first, err := readSVID(message)
		if err != nil {
			return heard, err
		}
		heard = true
		if err := report(struct {
			Event string  `json:"event"`
			At    float64 `json:"ms_unix"`
			svid
			SVIDs int `json:"svids"`
			CRLs  int `json:"crls"`
		}{"update", unixMilliseconds(at), first, len(message.GetSvids()), len(message.GetCrl())}); err != nil {
			return heard, err
		}
	}
}
