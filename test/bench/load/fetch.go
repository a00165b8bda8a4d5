package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"
)

const childCommand = "child-first-svid"

func firstSVID(opts *options) error {
	measured := &sample{}
	fetch := func(into *sample) {
		message, took, err := opts.endpoint.fetchFirst(opts.timeout)
		if err == nil {
			_, err = readSVID(message)
		}
		if err != nil {
			into.fail(errorText(err))
			return
		}
		into.add(took)
	}
	// The client's own first calls pay for page faults and descriptors that are built lazily: not the agent's time.
	for range opts.warmup {
		fetch(&sample{})
	}
	repeat(opts.n, opts.concurrency, func() { fetch(measured) })
	result, err := measured.outcome()
	if err != nil {
		return err
	}
	return report(struct {
		Command     string `json:"command"`
		Concurrency int    `json:"concurrency"`
		Warmup      int    `json:"warmup"`
		outcome
		Milliseconds quantiles `json:"ms"`
	}{"first-svid", opts.concurrency, opts.warmup, result, measured.quantiles()})
}

// child is the one line that a child prints.
type child struct {
	Milliseconds float64 `json:"ms"`
	Serial       string  `json:"serial,omitempty"`
	KeySHA256    string  `json:"key_sha256,omitempty"`
	Error        string  `json:"error,omitempty"`
}

func childFirstSVID(opts *options) error {
	message, took, err := opts.endpoint.fetchFirst(opts.timeout)
	if err != nil {
		return report(child{Error: errorText(err)})
	}
	first, err := readSVID(message)
	if err != nil {
		return report(child{Error: errorText(err)})
	}
	return report(child{Milliseconds: milliseconds(took), Serial: first.Serial, KeySHA256: first.KeySHA256})
}

func newProcess(opts *options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	keys, serials := map[string]bool{}, map[string]bool{}
	inside, wall := &sample{}, &sample{}
	repeat(opts.n, opts.concurrency, func() {
		start := time.Now()
		said, err := runChild(self, opts)
		took := time.Since(start)
		if err != nil {
			inside.fail(err.Error())
			return
		}
		inside.add(time.Duration(said.Milliseconds * float64(time.Millisecond)))
		wall.add(took)
		mu.Lock()
		defer mu.Unlock()
		keys[said.KeySHA256], serials[said.Serial] = true, true
	})
	result, err := inside.outcome()
	if err != nil {
		return err
	}
	return report(struct {
		Command     string `json:"command"`
		Concurrency int    `json:"concurrency"`
		outcome
		Inside          quantiles `json:"in_process_ms"`
		Wall            quantiles `json:"wall_ms"`
		DistinctKeys    int       `json:"distinct_keys"`
		DistinctSerials int       `json:"distinct_serials"`
	}{"new-process", opts.concurrency, result, inside.quantiles(), wall.quantiles(), len(keys), len(serials)})
}

func runChild(self string, opts *options) (child, error) {
	var said child
	var complaint bytes.Buffer
	process := exec.Command(self, childCommand, "--socket", string(opts.endpoint), "--timeout", opts.timeout.String())
	process.Stderr = &complaint
	printed, err := process.Output()
	if err != nil {
		return said, fmt.Errorf("UNKNOWN: the child ended with %w: %s", err, bytes.TrimSpace(complaint.Bytes()))
	}
	if err := json.Unmarshal(printed, &said); err != nil {
		return said, fmt.Errorf("UNKNOWN: the child printed no JSON: %w", err)
	}
	if said.Error != "" {
		return said, errors.New(said.Error)
	}
	return said, nil
}
