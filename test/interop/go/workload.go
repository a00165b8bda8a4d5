package main

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// deadline is for one question to the agent: go-spiffe retries by itself, for ever.
const deadline = 10 * time.Second

// workload is a process that uses everything of go-spiffe, each source on a connection of its own as go-spiffe does by default.
type workload struct {
	ctx     context.Context
	out     *output
	client  *workloadapi.Client
	x509    *workloadapi.X509Source
	jwts    *workloadapi.JWTSource
	bundles *workloadapi.BundleSource
	wits    *workloadapi.WITSource
	// kept are the connections that stay open, by the address of their server.
	kept map[string]*conversation
}

type identity struct {
	ID   string `json:"id"`
	Hint string `json:"hint"`
	// Chain is DER, leaf first.
	Chain [][]byte `json:"chain"`
}

type update struct {
	SVIDs []identity `json:"svids"`
	// Bundles are the roots in DER by the name of their trust domain.
	Bundles map[string][][]byte `json:"bundles"`
}

func identityOf(svid *x509svid.SVID) identity {
	return identity{ID: svid.ID.String(), Hint: svid.Hint, Chain: rawOf(svid.Certificates)}
}

func rawOf(certificates []*x509.Certificate) [][]byte {
	raw := make([][]byte, 0, len(certificates))
	for _, certificate := range certificates {
		raw = append(raw, certificate.Raw)
	}
	return raw
}

// watch opens the three sources and a watcher of each kind; what the watchers are told becomes events.
func (w *workload) watch() (any, error) {
	ctx, cancel := context.WithTimeout(w.ctx, deadline)
	defer cancel()
	w.out.event("opening", nil)
	var err error
	if w.client, err = workloadapi.New(ctx); err != nil {
		return nil, err
	}
	if w.x509, err = workloadapi.NewX509Source(ctx); err != nil {
		return nil, err
	}
	if w.jwts, err = workloadapi.NewJWTSource(ctx); err != nil {
		return nil, err
	}
	if w.bundles, err = workloadapi.NewBundleSource(ctx); err != nil {
		return nil, err
	}
	go w.follow(func() error { return w.client.WatchX509Context(w.ctx, w) })
	go w.follow(func() error { return w.client.WatchX509Bundles(w.ctx, x509Bundles{w}) })
	go w.follow(func() error { return w.client.WatchJWTBundles(w.ctx, jwtBundles{w}) })
	return nil, nil
}

// fetch asks once, outside the sources.
func (w *workload) fetch() (any, error) {
	ctx, cancel := context.WithTimeout(w.ctx, deadline)
	defer cancel()
	svid, err := workloadapi.FetchX509SVID(ctx)
	if err != nil {
		return nil, err
	}
	return identityOf(svid), nil
}

// source is what the X509Source holds, verified against its own bundles as a peer would.
func (w *workload) source() (any, error) {
	svid, err := w.x509.GetX509SVID()
	if err != nil {
		return nil, err
	}
	if _, _, err := x509svid.Verify(svid.Certificates, w.x509); err != nil {
		return nil, err
	}
	return identityOf(svid), nil
}

// bundle is what the BundleSource holds for a trust domain, once the X509Source and the JWTSource hold the same.
func (w *workload) bundle(name string) (any, error) {
	trustDomain, err := spiffeid.TrustDomainFromString(name)
	if err != nil {
		return nil, err
	}
	bundle, err := w.bundles.GetBundleForTrustDomain(trustDomain)
	if err != nil {
		return nil, err
	}
	if err := w.agree(bundle); err != nil {
		return nil, err
	}
	return authoritiesOf(bundle), nil
}

func authoritiesOf(bundle *spiffebundle.Bundle) map[string]any {
	keys := []string{}
	for id := range bundle.JWTAuthorities() {
		keys = append(keys, id)
	}
	slices.Sort(keys)
	return map[string]any{"x509": rawOf(bundle.X509Authorities()), "jwt": keys}
}

func (w *workload) agree(bundle *spiffebundle.Bundle) error {
	roots, err := w.x509.GetX509BundleForTrustDomain(bundle.TrustDomain())
	if err != nil {
		return err
	}
	if !bundle.X509Bundle().Equal(roots) {
		return errors.New("the X509Source holds another bundle than the BundleSource")
	}
	keys, err := w.jwts.GetJWTBundleForTrustDomain(bundle.TrustDomain())
	if err != nil {
		return err
	}
	if !bundle.JWTBundle().Equal(keys) {
		return errors.New("the JWTSource holds another bundle than the BundleSource")
	}
	return nil
}

type token struct {
	ID       string   `json:"id"`
	Audience []string `json:"audience"`
	// Expiry is in seconds since the epoch.
	Expiry int64  `json:"expiry"`
	Token  string `json:"token"`
}

func tokenOf(svid *jwtsvid.SVID, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return token{ID: svid.ID.String(), Audience: svid.Audience, Expiry: svid.Expiry.Unix(), Token: svid.Marshal()}, nil
}

// jwt fetches a JWT-SVID through the JWTSource.
func (w *workload) jwt(audience []string, subject string) (any, error) {
	ctx, cancel := context.WithTimeout(w.ctx, deadline)
	defer cancel()
	if len(audience) == 0 {
		return nil, errors.New("jwt needs an audience")
	}
	params := jwtsvid.Params{Audience: audience[0], ExtraAudiences: audience[1:]}
	if subject != "" {
		id, err := spiffeid.FromString(subject)
		if err != nil {
			return nil, err
		}
		params.Subject = id
	}
	return tokenOf(w.jwts.FetchJWTSVID(ctx, params))
}

// validate has the agent validate a token.
func (w *workload) validate(token string, audience []string) (any, error) {
	ctx, cancel := context.WithTimeout(w.ctx, deadline)
	defer cancel()
	if len(audience) != 1 {
		return nil, errors.New("validate needs one audience")
	}
	return tokenOf(workloadapi.ValidateJWTSVID(ctx, token, audience[0]))
}

// verify validates a token here, with the keys that the JWTSource holds.
func (w *workload) verify(token string, audience []string) (any, error) {
	return tokenOf(jwtsvid.ParseAndValidate(token, w.jwts, audience))
}

func (w *workload) close() {
	if w.client != nil {
		w.client.Close()
	}
	if w.x509 != nil {
		w.x509.Close()
	}
	if w.jwts != nil {
		w.jwts.Close()
	}
	if w.bundles != nil {
		w.bundles.Close()
	}
	if w.wits != nil {
		w.wits.Close()
	}
}
