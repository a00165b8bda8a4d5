package main

import (
	"context"
	"crypto"
	"errors"

	"github.com/spiffe/go-spiffe/v2/exp/svid/witsvid"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

type witSVID struct {
	ID   string `json:"id"`
	Hint string `json:"hint"`
	// Expiry is in seconds since the epoch.
	Expiry int64  `json:"expiry"`
	Token  string `json:"token"`
}

// witSource opens the WITSource, which no other source waits for: an agent may be told not to issue WIT-SVIDs.
func (w *workload) witSource() (any, error) {
	ctx, cancel := context.WithTimeout(w.ctx, deadline)
	defer cancel()
	var err error
	w.wits, err = workloadapi.NewWITSource(ctx)
	return nil, err
}

// wit is what the WITSource holds for an id, verified with the keys that it holds; the private key is that of the token.
func (w *workload) wit(subject string) (any, error) {
	id, err := spiffeid.FromString(subject)
	if err != nil {
		return nil, err
	}
	held, err := w.wits.GetWITSVIDForID(id)
	if err != nil {
		return nil, err
	}
	verified, err := witsvid.ParseAndValidate(held.Marshal(), w.wits)
	if err != nil {
		return nil, err
	}
	signer, ok := held.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the private key cannot sign")
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(verified.PublicKey) {
		return nil, errors.New("the private key is not that of the token")
	}
	return witSVID{
		ID: verified.ID.String(), Hint: held.Hint, Expiry: verified.Expiry.Unix(), Token: held.Marshal(),
	}, nil
}

// fetchWIT asks once, outside the source.
func (w *workload) fetchWIT(subject string) (any, error) {
	ctx, cancel := context.WithTimeout(w.ctx, deadline)
	defer cancel()
	svid, err := workloadapi.FetchWITSVID(ctx, subject)
	if err != nil {
		return nil, err
	}
	return witSVID{ID: svid.ID.String(), Hint: svid.Hint, Expiry: svid.Expiry.Unix(), Token: svid.Marshal()}, nil
}
