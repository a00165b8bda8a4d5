package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// follow says when a watcher has given up.
func (w *workload) follow(watch func() error) {
	if err := watch(); w.ctx.Err() == nil {
		w.out.event("ended", fmt.Sprint(err))
	}
}

func (w *workload) OnX509ContextUpdate(context *workloadapi.X509Context) {
	told := update{Bundles: map[string][][]byte{}}
	for _, svid := range context.SVIDs {
		told.SVIDs = append(told.SVIDs, identityOf(svid))
	}
	for _, bundle := range context.Bundles.Bundles() {
		told.Bundles[bundle.TrustDomain().Name()] = rawOf(bundle.X509Authorities())
	}
	w.out.event("update", told)
}

func (w *workload) OnX509ContextWatchError(err error) { w.out.event("error", err.Error()) }

// x509Bundles tells the roots, in DER by the name of their trust domain.
type x509Bundles struct{ *workload }

func (w x509Bundles) OnX509BundlesUpdate(set *x509bundle.Set) {
	told := map[string][][]byte{}
	for _, bundle := range set.Bundles() {
		told[bundle.TrustDomain().Name()] = rawOf(bundle.X509Authorities())
	}
	w.out.event("x509Bundles", told)
}

func (w x509Bundles) OnX509BundlesWatchError(err error) { w.out.event("error", err.Error()) }

// jwtBundles tells the ids of keys by the name of their trust domain.
type jwtBundles struct{ *workload }

func (w jwtBundles) OnJWTBundlesUpdate(set *jwtbundle.Set) {
	told := map[string][]string{}
	for _, bundle := range set.Bundles() {
		told[bundle.TrustDomain().Name()] = slices.Sorted(maps.Keys(bundle.JWTAuthorities()))
	}
	w.out.event("jwtBundles", told)
}

func (w jwtBundles) OnJWTBundlesWatchError(err error) { w.out.event("error", err.Error()) }
