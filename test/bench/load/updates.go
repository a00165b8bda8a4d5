package main

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"
)

// digest tells one content from another.
type digest = [sha256.Size]byte

// updates tells which update has reached all streams. One is known by its content, not by counting messages: an agent
// may skip an update that a later one has overtaken, for some streams and not for others.
type updates struct {
	mu      sync.Mutex
	n       int
	begun   time.Time
	current []digest
	started []bool
	ready   int
	last    time.Time
	first   *sample
	ends    *sample
	rounds  map[digest]*round
	repeats int
	done    int
	waiting int
	// settled is closed once every stream has had its first message or has ended; allReady may be read from then on.
	settled  chan struct{}
	allReady bool
}

// round is one content on its way to all streams.
type round struct {
	seen        []bool
	count       int
	first, last time.Time
}

func newUpdates(n int) *updates {
	return &updates{
		n:       n,
		begun:   time.Now(),
		current: make([]digest, n),
		started: make([]bool, n),
		first:   &sample{},
		ends:    &sample{},
		rounds:  map[digest]*round{},
		settled: make(chan struct{}),
		waiting: n,
	}
}

func (u *updates) saw(i int, start, at time.Time, content digest) {
	u.mu.Lock()
	defer u.mu.Unlock()
	isFirst := !u.started[i]
	if isFirst {
		u.started[i] = true
		u.ready++
		u.first.add(at.Sub(start))
		if at.After(u.last) {
			u.last = at
		}
		defer u.settle()
	} else if u.current[i] == content {
		u.repeats++
		return
	}
	u.current[i] = content

	r := u.rounds[content]
	if r == nil {
		r = &round{seen: make([]bool, u.n), first: at, last: at}
		u.rounds[content] = r
	}
	if r.seen[i] {
		return
	}
	r.seen[i] = true
	r.count++
	if at.Before(r.first) {
		r.first = at
	}
	if at.After(r.last) {
		r.last = at
	}
	if r.count < u.n {
		return
	}
	for other, old := range u.rounds {
		if !old.first.After(r.first) {
			delete(u.rounds, other)
		}
	}
	// What completes with somebody's first message is the state that the streams began with.
	if isFirst {
		return
	}
	u.done++
	_ = report(struct {
		Event   string  `json:"event"`
		Streams int     `json:"streams"`
		First   float64 `json:"first_ms_unix"`
		Last    float64 `json:"last_ms_unix"`
		Spread  float64 `json:"spread_ms"`
	}{"update", u.n, unixMilliseconds(r.first), unixMilliseconds(r.last), milliseconds(r.last.Sub(r.first))})
}

// ended is told of a stream that the agent ended; from then on no update can reach all of them.
func (u *updates) ended(i int, text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ends.fail(text)
	if !u.started[i] {
		u.settle()
		return
	}
	if u.ends.texts[text] == 1 {
		_ = report(struct {
			Event string `json:"event"`
			Error string `json:"error"`
		}{"ended", text})
	}
}

func (u *updates) settle() {
	u.waiting--
	if u.waiting > 0 {
		return
	}
	// Under the lock, so that no update is reported before it.
	if u.allReady = u.ends.fails == 0; u.allReady {
		u.reportReady()
	}
	close(u.settled)
}

func (u *updates) unready(why string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return fmt.Sprintf("%s: %d of %d streams had their first message; %d ended: %v", why, u.ready, u.n, u.ends.fails, u.ends.texts)
}

func (u *updates) reportReady() {
	contents := map[digest]bool{}
	for _, content := range u.current {
		contents[content] = true
	}
	_ = report(struct {
		Event    string    `json:"event"`
		Streams  int       `json:"streams"`
		All      float64   `json:"ms"`
		First    quantiles `json:"first_message_ms"`
		Contents int       `json:"distinct_contents"`
	}{"ready", u.n, milliseconds(u.last.Sub(u.begun)), u.first.quantiles(), len(contents)})
}

func (u *updates) reportEnd() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return report(struct {
		Event   string         `json:"event"`
		Streams int            `json:"streams"`
		Updates int            `json:"updates"`
		Repeats int            `json:"repeats"`
		Errors  int            `json:"errors"`
		Texts   map[string]int `json:"error_texts,omitempty"`
	}{"end", u.n, u.done, u.repeats, u.ends.fails, u.ends.texts})
}
