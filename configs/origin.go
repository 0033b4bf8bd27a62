package configs

import (
	"errors"
	"fmt"
	"strings"
)

// maxOrigin bounds a pattern of an origin.
const maxOrigin = 253 + len("https://") + len(":65535")

// checkOrigin checks a pattern of allowed_origins: an origin as browsers send it
// (`https://example.com`, `http://localhost:3000`), a host without a scheme, which
// stands for http and https on any port, or either with one `*` in the host, which
// stands for any number of labels (`*.example.com`). `*` alone is every origin but
// `null`.
func checkOrigin(pattern string) error {
	scheme, host, has := strings.Cut(pattern, "://")
	if !has {
		host = pattern
	}
	switch {
	case pattern == "" || host == "":
		return errors.New("is empty")
	case len(pattern) > maxOrigin:
		return fmt.Errorf("has %d bytes, the limit is %d", len(pattern), maxOrigin)
	case strings.EqualFold(pattern, "null"):
		return errors.New("is null, which stands for no origin in particular")
	case has && !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https"):
		return errors.New("has a scheme other than http and https")
	case strings.Contains(scheme, "*") && has, strings.Count(host, "*") > 1:
		return errors.New("has more than one *, or one outside the host")
	case strings.ContainsAny(host, "/ ?#@"):
		return errors.New("has more than a scheme, a host and a port")
	}
	return nil
}
