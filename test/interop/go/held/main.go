// A workload that holds its identity for as long as it runs, and prints what it is told as lines of JSON: each X.509 context, and each
// error of the watch, which go-spiffe tries again by itself.
package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

type held struct {
	ID     string `json:"id"`
	Serial string `json:"serial"`
}

type line struct {
	// At and Since are milliseconds: since the epoch, and since the program began.
	At    int64  `json:"at"`
	Since int64  `json:"since"`
	SVIDs []held `json:"svids,omitempty"`
	Error string `json:"error,omitempty"`
}

type printer struct{ began time.Time }

func (p printer) print(said line) {
	now := time.Now()
	said.At = now.UnixMilli()
	said.Since = now.Sub(p.began).Milliseconds()
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		os.Exit(1)
	}
}

func (p printer) OnX509ContextUpdate(context *workloadapi.X509Context) {
	said := line{}
	for _, svid := range context.SVIDs {
		said.SVIDs = append(said.SVIDs, held{svid.ID.String(), svid.Certificates[0].SerialNumber.Text(16)})
	}
	p.print(said)
}

func (p printer) OnX509ContextWatchError(err error) { p.print(line{Error: err.Error()}) }

func main() {
	p := printer{time.Now()}
	if err := workloadapi.WatchX509Context(context.Background(), p); err != nil {
		p.print(line{Error: err.Error()})
		os.Exit(1)
	}
}
