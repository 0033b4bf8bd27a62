package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
)

// target is the server and the app that a client command talks to. The defaults
// are the app of the development server.
type target struct {
	url, app, key, secret string
}

func (t *target) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.url, "url", "http://127.0.0.1:6001", "address of the server")
	f.StringVar(&t.app, "app", "app-id", "app id")
	f.StringVar(&t.key, "key", "app-key", "app key")
	f.StringVar(&t.secret, "secret", "app-secret", "app secret, for signatures")
}

func (t *target) signed() (*client.Signed, error) {
	s, err := client.NewSigned(client.SignedOptions{URL: t.url, AppID: t.app, Key: t.key, Secret: app.Secret(t.secret)})
	if err != nil {
		return nil, usageError{err}
	}
	return s, nil
}

// hinted is an error with a sentence about what to do.
type hinted struct {
	error
	hint string
}

func (e hinted) Error() string { return e.error.Error() + "\n  " + e.hint }
func (e hinted) Unwrap() error { return e.error }

// explain adds what to do about an error of talking to the server, where that
// can be known.
func (t *target) explain(err error) error {
	var api *client.APIError
	var closed *client.CloseError
	var unknown x509.UnknownAuthorityError
	var dns *net.DNSError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return hinted{err, fmt.Sprintf("Nobody listens at %s. Is `sluice serve` running? Another address is given with --url.", t.url)}
	case errors.As(err, &dns):
		return hinted{err, "Check the host name in --url."}
	case errors.As(err, &unknown):
		return hinted{err, "The certificate of the server is not trusted by this machine."}
	case errors.As(err, &api) && api.Status == 401:
		return hinted{err, "Check --app, --key and --secret, and the clock of this machine."}
	case errors.As(err, &api) && api.Status == 404 && api.Code == "":
		return hinted{err, fmt.Sprintf("Is it Sluice that listens at %s?", t.url)}
	case errors.As(err, &closed) && closed.Code == 4001:
		return hinted{err, "Check --key."}
	}
	return err
}
