// The client calls the server once a second, and prints who answered what.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: client HOST:PORT SERVER_SPIFFE_ID")
	}
	// Waits until the agent gives this process an identity; from then on the source follows each renewal.
	source, err := workloadapi.NewX509Source(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	expected := spiffeid.RequireFromString(os.Args[2])
	mode := spiffetls.MTLSClientWithSource(tlsconfig.AuthorizeID(expected), source)
	for {
		if err := call(os.Args[1], mode); err != nil {
			log.Fatal(err)
		}
		time.Sleep(time.Second)
	}
}

func call(address string, mode spiffetls.DialMode) error {
	dialer := spiffetls.WithDialer(&net.Dialer{Timeout: 10 * time.Second})
	conn, err := spiffetls.DialWithMode(context.Background(), "tcp", address, mode, dialer)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	server, err := spiffetls.PeerIDFromConn(conn)
	if err != nil {
		return err
	}
	// A server that refuses says so only now: in TLS 1.3 the client is done with the handshake first.
	greeting, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s\n", server, strings.TrimSpace(greeting))
	return nil
}
