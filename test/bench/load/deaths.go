package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const holderCommand = "child-hold"

// deaths kills processes that hold an identity, one after the other, and measures how long it takes until their certificate is
// on a list in the hands of FetchX509Bundles subscribers (the first one, and the last of all), and until a token of theirs is
// refused by ValidateJWTSVID.
func deaths(opts *options) error {
	if err := raiseFileLimit(uint64(opts.concurrency) + 256); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(withHeader(context.Background()))
	defer cancel()
	seen := newLists(opts.concurrency)
	opening := make(chan struct{}, 256)
	for i := range opts.concurrency {
		go func() {
			if err := followBundles(ctx, opts.endpoint, i, opening, seen); ctx.Err() == nil {
				seen.fail(errorText(err))
			}
		}()
	}
	if err := seen.ready(opts.timeout * 12); err != nil {
		return err
	}
	conn, err := opts.endpoint.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	validator := workload.NewSpiffeWorkloadAPIClient(conn)

	first, last, token := &sample{}, &sample{}, &sample{}
	for i := range opts.warmup + opts.n {
		atFirst, atLast, refused, err := die(ctx, self, opts, seen, validator)
		switch {
		case err != nil:
			first.fail(errorText(err))
		case i >= opts.warmup:
			first.add(atFirst)
			last.add(atLast)
			token.add(refused)
		}
	}
	result, err := first.outcome()
	if err != nil {
		return err
	}
	return report(struct {
		Command string `json:"command"`
		Streams int    `json:"streams"`
		outcome
		First quantiles `json:"first_ms"`
		Last  quantiles `json:"last_ms"`
		Token quantiles `json:"token_ms"`
	}{"deaths", opts.concurrency, result, first.quantiles(), last.quantiles(), token.quantiles()})
}

// held is the one line that a holder prints.
type held struct {
	Serial string `json:"serial"`
	Token  string `json:"token"`
	Error  string `json:"error,omitempty"`
}

// die starts a holder, kills it, and returns how long the first and the last subscriber, and the validator, took to know.
func die(ctx context.Context, self string, opts *options, seen *lists, validator workload.SpiffeWorkloadAPIClient) (time.Duration, time.Duration, time.Duration, error) {
	process := exec.Command(self, holderCommand, "--socket", string(opts.endpoint), "--audience", opts.audience)
	process.Stderr = os.Stderr
	stdin, err := process.StdinPipe()
	if err != nil {
		return 0, 0, 0, err
	}
	defer stdin.Close()
	stdout, err := process.StdoutPipe()
	if err != nil {
		return 0, 0, 0, err
	}
	if err := process.Start(); err != nil {
		return 0, 0, 0, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		return 0, 0, 0, fmt.Errorf("the holder said nothing: %w", err)
	}
	var said held
	if err := json.Unmarshal(line, &said); err != nil {
		return 0, 0, 0, err
	}
	if said.Error != "" {
		return 0, 0, 0, errors.New(said.Error)
	}
	arrived := seen.await(said.Serial)
	killed := time.Now()
	if err := process.Process.Kill(); err != nil {
		return 0, 0, 0, err
	}
	_, _ = process.Process.Wait()
	refused, err := refusedAfter(ctx, validator, said.Token, opts)
	if err != nil {
		return 0, 0, 0, err
	}
	select {
	case at := <-arrived:
		return at.first.Sub(killed), at.last.Sub(killed), refused.Sub(killed), nil
	case <-time.After(opts.timeout):
		return 0, 0, 0, errors.New("the certificate did not come on a list in time")
	}
}

func refusedAfter(ctx context.Context, validator workload.SpiffeWorkloadAPIClient, token string, opts *options) (time.Time, error) {
	deadline := time.Now().Add(opts.timeout)
	for time.Now().Before(deadline) {
		_, err := validator.ValidateJWTSVID(ctx, &workload.ValidateJWTSVIDRequest{Svid: token, Audience: opts.audience})
		if status.Code(err) == codes.InvalidArgument {
			return time.Now(), nil
		}
		if err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, errors.New("the token of a dead process is still accepted")
}

// hold fetches a certificate and a token, says which, and keeps them until it is killed.
func hold(opts *options) error {
	ctx := withHeader(context.Background())
	conn, err := opts.endpoint.dial()
	if err != nil {
		return report(held{Error: errorText(err)})
	}
	client := workload.NewSpiffeWorkloadAPIClient(conn)
	stream, err := client.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	if err != nil {
		return report(held{Error: errorText(err)})
	}
	message, err := stream.Recv()
	if err != nil {
		return report(held{Error: errorText(err)})
	}
	first, err := readSVID(message)
	if err != nil {
		return report(held{Error: errorText(err)})
	}
	tokens, err := client.FetchJWTSVID(ctx, &workload.JWTSVIDRequest{Audience: []string{opts.audience}})
	if err != nil {
		return report(held{Error: errorText(err)})
	}
	if err := report(held{Serial: first.Serial, Token: tokens.GetSvids()[0].GetSvid()}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// lists tells when a serial is on a list that subscribers hold.
type lists struct {
	mu      sync.Mutex
	n       int
	started int
	failure string
	all     chan struct{}
	parsed  map[[sha256.Size]byte]map[string]bool
	waiting *awaited
}

type awaited struct {
	serial      string
	seen        []bool
	count       int
	first, last time.Time
	arrived     chan arrival
}

type arrival struct{ first, last time.Time }

func newLists(n int) *lists {
	return &lists{n: n, all: make(chan struct{}), parsed: map[[sha256.Size]byte]map[string]bool{}}
}

func (l *lists) ready(timeout time.Duration) error {
	select {
	case <-l.all:
		return nil
	case <-time.After(timeout):
		l.mu.Lock()
		defer l.mu.Unlock()
		return fmt.Errorf("%d of %d subscribers are there: %s", l.started, l.n, l.failure)
	}
}

func (l *lists) fail(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = text
}

// await is told once every subscriber has a list with the serial.
func (l *lists) await(serial string) <-chan arrival {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = &awaited{serial: serial, seen: make([]bool, l.n), arrived: make(chan arrival, 1)}
	return l.waiting.arrived
}

func (l *lists) saw(i int, isFirst bool, at time.Time, crls [][]byte) error {
	hash := sha256.New()
	for _, crl := range crls {
		hash.Write(crl)
	}
	digest := [sha256.Size]byte(hash.Sum(nil))
	l.mu.Lock()
	defer l.mu.Unlock()
	if isFirst {
		l.started++
		if l.started == l.n {
			close(l.all)
		}
	}
	w := l.waiting
	if w == nil || w.seen[i] {
		return nil
	}
	serials, known := l.parsed[digest]
	if !known {
		serials = map[string]bool{}
		for _, crl := range crls {
			list, err := x509.ParseRevocationList(crl)
			if err != nil {
				return err
			}
			for _, entry := range list.RevokedCertificateEntries {
				serials[fmt.Sprintf("%X", entry.SerialNumber.Bytes())] = true
			}
		}
		clear(l.parsed)
		l.parsed[digest] = serials
	}
	if !serials[w.serial] {
		return nil
	}
	w.seen[i] = true
	w.count++
	if w.count == 1 {
		w.first = at
	}
	w.last = at
	if w.count == l.n {
		w.arrived <- arrival{w.first, w.last}
		l.waiting = nil
	}
	return nil
}

func followBundles(ctx context.Context, e endpoint, i int, opening chan struct{}, seen *lists) error {
	opening <- struct{}{}
	opened := sync.OnceFunc(func() { <-opening })
	defer opened()
	conn, err := e.dial(grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10), grpc.WithSharedWriteBuffer(true))
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := workload.NewSpiffeWorkloadAPIClient(conn).FetchX509Bundles(ctx, &workload.X509BundlesRequest{})
	if err != nil {
		return err
	}
	for isFirst := true; ; isFirst = false {
		message, err := stream.Recv()
		at := time.Now()
		if err != nil {
			return err
		}
		opened()
		if err := seen.saw(i, isFirst, at, message.GetCrl()); err != nil {
			return err
		}
	}
}
