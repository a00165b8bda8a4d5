package main

import (
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// load is what go-spiffe reads in a file in SPIFFE bundle format.
func load(name, path string) (any, error) {
	trustDomain, err := spiffeid.TrustDomainFromString(name)
	if err != nil {
		return nil, err
	}
	bundle, err := spiffebundle.Load(trustDomain, path)
	if err != nil {
		return nil, err
	}
	loaded := authoritiesOf(bundle)
	if sequence, ok := bundle.SequenceNumber(); ok {
		loaded["sequence"] = sequence
	}
	if hint, ok := bundle.RefreshHint(); ok {
		loaded["refreshHint"] = hint.Seconds()
	}
	return loaded, nil
}
