package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// sample collects what the repetitions of one measurement gave; safe for concurrent use.
type sample struct {
	mu    sync.Mutex
	took  []time.Duration
	texts map[string]int
	fails int
}

func (s *sample) add(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, took)
}

func (s *sample) fail(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.texts == nil {
		s.texts = map[string]int{}
	}
	s.fails++
	// A text that holds something random must not fill the report.
	if _, known := s.texts[text]; !known && len(s.texts) == 20 {
		text = "others"
	}
	s.texts[text]++
}

// outcome is the part of a report that all measurements share.
type outcome struct {
	Count      int            `json:"count"`
	Errors     int            `json:"errors"`
	ErrorTexts map[string]int `json:"error_texts,omitempty"`
}

// outcome returns an error when there is nothing to tell figures of.
func (s *sample) outcome() (outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.took) == 0 {
		texts, _ := json.Marshal(s.texts)
		return outcome{}, fmt.Errorf("none of %d succeeded: %s", s.fails, texts)
	}
	return outcome{len(s.took), s.fails, s.texts}, nil
}

// quantiles are in milliseconds, by nearest rank: each is a duration that was really seen.
type quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func (s *sample) quantiles() quantiles {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.took) == 0 {
		return quantiles{}
	}
	sorted := slices.Sorted(slices.Values(s.took))
	rank := func(p float64) float64 {
		return milliseconds(sorted[int(math.Ceil(p*float64(len(sorted))))-1])
	}
	return quantiles{rank(0.5), rank(0.9), rank(0.99), rank(1)}
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}

// unixMilliseconds keeps the fraction: updates are compared with another process' clock.
func unixMilliseconds(t time.Time) float64 {
	return float64(t.UnixMicro()) / 1000
}

// repeat calls do n times, at most so many at once, and returns when all have returned.
func repeat(n, concurrency int, do func()) {
	var begun atomic.Int64
	var workers sync.WaitGroup
	for range min(n, concurrency) {
		workers.Go(func() {
			for begun.Add(1) <= int64(n) {
				do()
			}
		})
	}
	workers.Wait()
}
