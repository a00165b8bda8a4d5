// Command load measures a SPIFFE Workload API socket, whichever agent serves it.
//
// first-svid, new-process, jwt and deaths print one JSON object when they are done. streams and rotate print one JSON object a
// line, as things happen, until their stdin ends. Exit codes: 0 measured, 1 nothing could be measured (the reason is on
// stderr and names the gRPC code), 2 wrong usage.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

type command struct {
	name, does string
	run        func(*options) error
}

var commands = []command{
	{"first-svid", "first X.509-SVID, each on a new connection (--n, --concurrency, --warmup)", firstSVID},
	{"new-process", "first X.509-SVID, each in a new process (--n, --concurrency)", newProcess},
	{"jwt", "FetchJWTSVID over one connection (--duration, --concurrency, --audience, --fresh)", jwtSVIDs},
	{"streams", "--n FetchX509SVID streams, a connection each, held until stdin ends (--concurrency, --mixed)", streams},
	{"rotate", "one FetchX509SVID stream, a line an update, until stdin ends", rotate},
	{"deaths", "kill --n processes that hold an identity, watched by --concurrency FetchX509Bundles streams", deaths},
	{holderCommand, "what deaths starts: an identity and a token in this process, until it is killed", hold},
	{childCommand, "what new-process starts: one X.509-SVID in this process", childFirstSVID},
}

// options are the flags of every command; each command reads those that its line in the usage names.
type options struct {
	endpoint    endpoint
	n           int
	concurrency int
	warmup      int
	duration    time.Duration
	timeout     time.Duration
	audience    string
	fresh       bool
	mixed       bool
}

// errUsage marks an error that the command line itself caused.
var errUsage = errors.New("wrong usage")

func main() {
	err := run(os.Args[1:])
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: name a command\n%s", errUsage, usage())
	}
	at := slices.IndexFunc(commands, func(c command) bool { return c.name == args[0] })
	if at < 0 {
		return fmt.Errorf("%w: no command %q\n%s", errUsage, args[0], usage())
	}
	opts, err := parseOptions(commands[at], args[1:])
	if err != nil {
		return err
	}
	if err := commands[at].run(opts); err != nil {
		return fmt.Errorf("%s: %w", commands[at].name, err)
	}
	return nil
}

func usage() string {
	var text strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&text, "  %-16s %s\n", c.name, c.does)
	}
	return text.String()
}

func parseOptions(c command, args []string) (*options, error) {
	opts := &options{}
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	socket := flags.String("socket", os.Getenv("SPIFFE_ENDPOINT_SOCKET"), "unix:///path or a path; default: SPIFFE_ENDPOINT_SOCKET")
	flags.IntVar(&opts.n, "n", 1000, "how many")
	flags.IntVar(&opts.concurrency, "concurrency", 0, "how many under way; default: jwt 64, streams 256 that await their first message, otherwise 1")
	flags.IntVar(&opts.warmup, "warmup", 5, "unmeasured repetitions first")
	flags.DurationVar(&opts.duration, "duration", 5*time.Second, "how long")
	flags.DurationVar(&opts.timeout, "timeout", 0, "limit of one operation; default: 10s, for all streams to be ready 2m")
	flags.StringVar(&opts.audience, "audience", "bench", "audience of a JWT-SVID")
	flags.BoolVar(&opts.fresh, "fresh", false, "a new audience for each call, so that no token comes from a cache")
	flags.BoolVar(&opts.mixed, "mixed", false, "a third of the streams by the Workload API, and one by each way of SDS; an update is a new certificate")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%w: %q is not a flag", errUsage, flags.Arg(0))
	}
	if opts.concurrency == 0 {
		opts.concurrency = map[string]int{"jwt": 64, "streams": 256}[c.name]
		opts.concurrency = max(opts.concurrency, 1)
	}
	if opts.timeout == 0 {
		opts.timeout = 10 * time.Second
		if c.name == "streams" {
			opts.timeout = 2 * time.Minute
		}
	}
	if opts.n < 1 || opts.concurrency < 1 || opts.warmup < 0 || opts.duration <= 0 || opts.timeout < 0 {
		return nil, fmt.Errorf("%w: --n and --concurrency start at 1, --warmup at 0; --duration and --timeout are longer than 0", errUsage)
	}
	var err error
	if opts.endpoint, err = parseEndpoint(*socket); err != nil {
		return nil, fmt.Errorf("%w: --socket: %w", errUsage, err)
	}
	return opts, nil
}

// stdout serialises whole lines: several goroutines report.
var stdout struct {
	sync.Mutex
}

func report(value any) error {
	stdout.Lock()
	defer stdout.Unlock()
	return json.NewEncoder(os.Stdout).Encode(value)
}

// stdinEnded is closed when whoever started this process closes its stdin, or dies.
func stdinEnded() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	return ended
}
