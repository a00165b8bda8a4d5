package main

import (
	"crypto/tls"
	"io"
	"net"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// listen serves mTLS on a free port to peers of one SPIFFE ID and tells each who it is; it returns the address. How each handshake
// went becomes an event.
func (w *workload) listen(expect string) (any, error) {
	id, err := spiffeid.FromString(expect)
	if err != nil {
		return nil, err
	}
	config := tlsconfig.MTLSServerConfig(w.x509, w.x509, tlsconfig.AuthorizeID(id))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go w.serve(tls.Server(conn, config))
		}
	}()
	return listener.Addr().String(), nil
}

func (w *workload) serve(conn *tls.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(deadline))
	if err := conn.Handshake(); err != nil {
		w.out.event("refused", err.Error())
		return
	}
	peer, err := peerOf(conn)
	if err != nil {
		w.out.event("refused", err.Error())
		return
	}
	w.out.event("accepted", peer.String())
	_, _ = io.WriteString(conn, peer.String())
}

// dial returns whom it has reached, and who the other side says that we are.
func (w *workload) dial(address, expect string) (any, error) {
	id, err := spiffeid.FromString(expect)
	if err != nil {
		return nil, err
	}
	config := tlsconfig.MTLSClientConfig(w.x509, w.x509, tlsconfig.AuthorizeID(id))
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: deadline}, "tcp", address, config)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(deadline))
	peer, err := peerOf(conn)
	if err != nil {
		return nil, err
	}
	// In TLS 1.3 the server's refusal comes after the client's handshake, with the first read.
	us, err := io.ReadAll(conn)
	if err != nil {
		return nil, err
	}
	return map[string]string{"peer": peer.String(), "us": string(us)}, nil
}

// peerOf reads the id of the other side, which the handshake has verified.
func peerOf(conn *tls.Conn) (spiffeid.ID, error) {
	return x509svid.IDFromCert(conn.ConnectionState().PeerCertificates[0])
}
