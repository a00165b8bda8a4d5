// The client drives go-spiffe as a workload would, told what to do by the test that started it: a command is one line of JSON on
// standard input, its answer one line on standard output, and what comes by itself in between is an event.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// command is what the test asks for; each command reads the fields that it knows.
type command struct {
	Do          string   `json:"do"`
	TrustDomain string   `json:"trustDomain"`
	Audience    []string `json:"audience"`
	Subject     string   `json:"subject"`
	Token       string   `json:"token"`
	Expect      string   `json:"expect"`
	Address     string   `json:"address"`
	Authority   string   `json:"authority"`
	Service     string   `json:"service"`
	Path        string   `json:"path"`
	Word        string   `json:"word"`
}

// output is the one writer of standard output: an answer and an event never share a line.
type output struct {
	lock    sync.Mutex
	encoder *json.Encoder
}

func (o *output) write(line map[string]any) {
	o.lock.Lock()
	defer o.lock.Unlock()
	if err := o.encoder.Encode(line); err != nil {
		// The test has gone.
		os.Exit(1)
	}
}

func (o *output) event(name string, value any) {
	o.write(map[string]any{"event": name, "value": value})
}

func (o *output) answer(value any, err error) {
	if err != nil {
		o.write(map[string]any{"failure": err.Error()})
		return
	}
	o.write(map[string]any{"answer": value})
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out := &output{encoder: json.NewEncoder(os.Stdout)}
	workload := &workload{ctx: ctx, out: out, kept: map[string]*conversation{}}
	defer workload.close()

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var asked command
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			out.answer(nil, err)
			continue
		}
		out.answer(run(ctx, workload, asked))
	}
}

func run(ctx context.Context, workload *workload, asked command) (any, error) {
	switch asked.Do {
	case "watch":
		return workload.watch()
	case "fetch":
		return workload.fetch()
	case "source":
		return workload.source()
	case "bundle":
		return workload.bundle(asked.TrustDomain)
	case "load":
		return load(asked.TrustDomain, asked.Path)
	case "jwt":
		return workload.jwt(asked.Audience, asked.Subject)
	case "validate":
		return workload.validate(asked.Token, asked.Audience)
	case "verify":
		return workload.verify(asked.Token, asked.Audience)
	case "witSource":
		return workload.witSource()
	case "wit":
		return workload.wit(asked.Subject)
	case "fetchWit":
		return workload.fetchWIT(asked.Subject)
	case "listen":
		return workload.listen(asked.Expect)
	case "dial":
		return workload.dial(asked.Address, asked.Expect)
	case "open":
		return workload.open(asked.Address, asked.Expect)
	case "say":
		return workload.say(asked.Address, asked.Word)
	case "services":
		return services(ctx)
	case "describe":
		return describe(ctx, asked.Service)
	case "health":
		return health(ctx, asked.Service)
	case "authority":
		return fetchAs(ctx, asked.Authority)
	default:
		return nil, fmt.Errorf("%q is no command", asked.Do)
	}
}
