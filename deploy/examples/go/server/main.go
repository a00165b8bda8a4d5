// The server greets whoever presents the allowed SPIFFE ID.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: server HOST:PORT ALLOWED_SPIFFE_ID")
	}
	allowed := spiffeid.RequireFromString(os.Args[2])
	// Who resumes a session is not verified again.
	base := spiffetls.WithListenTLSConfigBase(&tls.Config{SessionTicketsDisabled: true, MinVersion: tls.VersionTLS12})
	// Waits until the agent gives this process an identity; from then on the listener follows each renewal.
	listener, err := spiffetls.Listen(context.Background(), "tcp", os.Args[1], tlsconfig.AuthorizeID(allowed), base)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			if err := greet(conn); err != nil {
				log.Println("refused:", err)
			}
		}()
	}
}

func greet(conn net.Conn) error {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	// The first write does the handshake, which fails for anybody else.
	if _, err := io.WriteString(conn, "Hello, "); err != nil {
		return err
	}
	client, err := spiffetls.PeerIDFromConn(conn)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(conn, client); err != nil {
		return err
	}
	fmt.Println("greeted", client)
	return nil
}
