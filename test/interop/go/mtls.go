package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
)

// met is whom one end of a connection has seen at the other.
type met struct {
	ID string `json:"id"`
	// Leaf is DER.
	Leaf []byte `json:"leaf"`
}

// handshaker is what spiffetls hides behind net.Conn.
type handshaker interface {
	HandshakeContext(ctx context.Context) error
	ConnectionState() tls.ConnectionState
}

// listen serves mTLS on a free port to peers of one SPIFFE ID; it returns the address. It tells each whom it has met, and then says
// again what is said to it. How each handshake went becomes an event.
func (w *workload) listen(expect string) (any, error) {
	id, err := spiffeid.FromString(expect)
	if err != nil {
		return nil, err
	}
	mode := spiffetls.MTLSServerWithSource(tlsconfig.AuthorizeID(id), w.x509)
	listener, err := spiffetls.ListenWithMode(w.ctx, "tcp", "127.0.0.1:0", mode)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go w.serve(conn)
		}
	}()
	return listener.Addr().String(), nil
}

func (w *workload) serve(conn net.Conn) {
	defer conn.Close()
	peer, err := w.meet(conn)
	if err != nil {
		w.out.event("refused", err.Error())
		return
	}
	w.out.event("accepted", peer.ID)
	if json.NewEncoder(conn).Encode(peer) == nil {
		_, _ = io.Copy(conn, conn)
	}
}

// meeting is a connection as its client sees it.
type meeting struct {
	Peer met `json:"peer"`
	// Us is whom the other side has met.
	Us met `json:"us"`
	// TLS is the version.
	TLS string `json:"tls"`
}

// conversation is a connection that is kept.
type conversation struct {
	net.Conn
	lines *bufio.Reader
}

// dial returns whom it has reached, and who the other side says that we are.
func (w *workload) dial(address, expect string) (any, error) {
	conn, told, err := w.connect(address, expect)
	if err != nil {
		return nil, err
	}
	return map[string]string{"peer": told.Peer.ID, "us": told.Us.ID}, conn.Close()
}

// open dials, and keeps the connection.
func (w *workload) open(address, expect string) (any, error) {
	conn, told, err := w.connect(address, expect)
	if err != nil {
		return nil, err
	}
	w.kept[address] = conn
	return told, nil
}

// say returns what comes back on the connection that open has kept.
func (w *workload) say(address, word string) (any, error) {
	conn, ok := w.kept[address]
	if !ok {
		return nil, errors.New("open comes first")
	}
	if _, err := fmt.Fprintln(conn, word); err != nil {
		return nil, err
	}
	line, err := conn.lines.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

func (w *workload) connect(address, expect string) (*conversation, *meeting, error) {
	id, err := spiffeid.FromString(expect)
	if err != nil {
		return nil, nil, err
	}
	mode := spiffetls.MTLSClientWithSource(tlsconfig.AuthorizeID(id), w.x509)
	dialer := spiffetls.WithDialer(&net.Dialer{Timeout: deadline})
	conn, err := spiffetls.DialWithMode(w.ctx, "tcp", address, mode, dialer)
	if err != nil {
		return nil, nil, err
	}
	kept := &conversation{Conn: conn, lines: bufio.NewReader(conn)}
	told, err := w.introduced(kept)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return kept, told, nil
}

func (w *workload) introduced(conn *conversation) (*meeting, error) {
	peer, err := w.meet(conn.Conn)
	if err != nil {
		return nil, err
	}
	told := &meeting{Peer: peer, TLS: tls.VersionName(stateOf(conn.Conn).Version)}
	// In TLS 1.3 the server's refusal comes after the client's handshake, with the first read.
	line, err := conn.lines.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	return told, json.Unmarshal(line, &told.Us)
}

// meet completes the handshake and says who is at the other side, which the handshake has verified.
func (w *workload) meet(conn net.Conn) (met, error) {
	ctx, cancel := context.WithTimeout(w.ctx, deadline)
	defer cancel()
	if err := conn.(handshaker).HandshakeContext(ctx); err != nil {
		return met{}, err
	}
	id, err := spiffetls.PeerIDFromConn(conn)
	if err != nil {
		return met{}, err
	}
	return met{ID: id.String(), Leaf: stateOf(conn).PeerCertificates[0].Raw}, nil
}

func stateOf(conn net.Conn) tls.ConnectionState {
	return conn.(handshaker).ConnectionState()
}
