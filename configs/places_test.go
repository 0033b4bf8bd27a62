package configs

import (
	"slices"
	"strings"
	"testing"
)

// TestTrust08EveryKeyOfAFileIsPublicOrHoldsASecret: a new key for a file must be classified.
func TestTrust08EveryKeyOfAFileIsPublicOrHoldsASecret(t *testing.T) {
	for i := range keys {
		k := &keys[i]
		public := strings.HasSuffix(k.name, "cert_file") || strings.HasSuffix(k.name, "ca_file")
		secret := k.kind == file || slices.Contains(keyFiles, k.name)
		if strings.HasSuffix(k.name, "_file") && public == secret {
			t.Errorf("%s: public %v, secret %v", k.name, public, secret)
		}
	}
	for _, name := range keyFiles {
		if find(keys, name) == nil {
			t.Errorf("there is no key %s", name)
		}
	}
}
