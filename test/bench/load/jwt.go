package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
)

func jwtSVIDs(opts *options) error {
	conn, err := opts.endpoint.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	client := workload.NewSpiffeWorkloadAPIClient(conn)

	// The nonce keeps a second run from meeting the tokens that the first one left in a cache.
	nonce, calls := rand.Text(), atomic.Int64{}
	audience := func() string {
		if opts.fresh {
			return opts.audience + "-" + nonce + "-" + strconv.FormatInt(calls.Add(1), 10)
		}
		return opts.audience
	}
	fetch := func() (string, error) {
		ctx, cancel := context.WithTimeout(withHeader(context.Background()), opts.timeout)
		defer cancel()
		answer, err := client.FetchJWTSVID(ctx, &workload.JWTSVIDRequest{Audience: []string{audience()}})
		if err != nil {
			return "", err
		}
		if len(answer.GetSvids()) == 0 {
			return "", &badMessage{"the response holds no JWT-SVID"}
		}
		return answer.GetSvids()[0].GetSvid(), nil
	}
	// Connects, and signs the token that all later calls without --fresh may have from a cache.
	if _, err := fetch(); err != nil {
		return fmt.Errorf("the first call failed: %s", errorText(err))
	}

	measured := &sample{}
	var mu sync.Mutex
	signatures := map[string]bool{}
	var workers sync.WaitGroup
	start := time.Now()
	for range opts.concurrency {
		workers.Go(func() {
			mine := map[string]bool{}
			for time.Since(start) < opts.duration {
				before := time.Now()
				token, err := fetch()
				if err != nil {
					measured.fail(errorText(err))
					// A refusal is cheap: repeated at full speed it would starve the calls that are measured.
					time.Sleep(10 * time.Millisecond)
					continue
				}
				measured.add(time.Since(before))
				mine[strings.Clone(token[strings.LastIndexByte(token, '.')+1:])] = true
			}
			mu.Lock()
			defer mu.Unlock()
			for signature := range mine {
				signatures[signature] = true
			}
		})
	}
	workers.Wait()
	elapsed := time.Since(start)

	result, err := measured.outcome()
	if err != nil {
		return err
	}
	return report(struct {
		Command     string  `json:"command"`
		Concurrency int     `json:"concurrency"`
		Fresh       bool    `json:"fresh"`
		Seconds     float64 `json:"seconds"`
		outcome
		PerSecond      float64   `json:"calls_per_second"`
		Milliseconds   quantiles `json:"ms"`
		DistinctTokens int       `json:"distinct_tokens"`
	}{"jwt", opts.concurrency, opts.fresh, elapsed.Seconds(), result,
		float64(result.Count) / elapsed.Seconds(), measured.quantiles(), len(signatures)})
}
