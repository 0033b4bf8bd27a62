package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
)

// target is the server and the app of a client command. Values that are not on the command line come from the
// environment, and otherwise from the configuration that a server here would have; without any of these it is
// the app of the development server.
type target struct {
	url, app, key, secret, secretFile, caFile string

	config *configs.Config
	// known is the app in the configuration, nil if it is not there. here is set if the server is that of the
	// configuration.
	known *configs.App
	here  bool
	// tls is the configuration for TLS, nil for the system's certificates.
	tls *tls.Config
	// reach opens connections, nil for the usual way.
	reach func(ctx context.Context, network, address string) (net.Conn, error)
	// place is the trace context of the requests, empty for none.
	place string
}

const caFileUsage = "PEM file with the certificates to trust, for a server with TLS"

func (t *target) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.url, "url", "", "address of the server, http unless it says otherwise; else $"+configs.ClientURL+", else the configuration")
	f.StringVar(&t.app, "app", "", "app id; else $"+configs.ClientApp+", else the app of the configuration")
	f.StringVar(&t.key, "key", "", "app key; else $"+configs.ClientKey+", else the configuration")
	f.StringVar(&t.secret, "secret", "", "app secret, which others on this machine can see here; better --secret-file, $"+
		configs.ClientSecret+", $"+configs.ClientSecretFile+" or the configuration")
	f.StringVar(&t.secretFile, "secret-file", "", "file that holds the app secret")
	f.StringVar(&t.caFile, "ca-file", "", caFileUsage)
}

// complete fills in the values that are not on the command line. anonymous commands need neither key nor secret.
func (t *target) complete(cmd *cobra.Command, anonymous bool) error {
	var err error
	if t.config, err = loadClientConfig(cmd); err != nil {
		return err
	}
	given := func(flag string, to *string, variable string) bool {
		if !cmd.Flags().Changed(flag) {
			*to = strings.TrimSpace(os.Getenv(variable))
		}
		return cmd.Flags().Changed(flag) || *to != ""
	}
	hasURL := given("url", &t.url, configs.ClientURL)
	t.url = withScheme(t.url)
	hasApp := given("app", &t.app, configs.ClientApp)
	hasKey := given("key", &t.key, configs.ClientKey)
	hasSecret, err := t.ownSecret(cmd)
	if err != nil {
		return err
	}
	a, err := t.choose(hasApp, hasKey)
	if err != nil {
		return err
	}
	if t.app == "" && !hasApp && a != nil {
		t.app = a.ID
	}
	t.known, t.here = a, !hasURL
	if anonymous {
		return nil
	}
	if a == nil && !(hasKey && hasSecret) {
		return usage("app %q is not in the configuration; its key and secret are read from $%s and $%s, or --key and --secret-file, or another --config",
			t.app, configs.ClientKey, configs.ClientSecret)
	}
	if !hasKey {
		t.key = a.Key
	}
	if !hasSecret {
		t.secret = a.Secret.Reveal()
	}
	if !hasURL {
		t.url, err = addressOf(t.config)
		t.tls, t.reach = ownTLS(t.config), ownDial(t.config)
	}
	if t.caFile != "" && err == nil {
		t.tls, err = trusting(t.caFile)
	}
	return err
}

// withScheme adds a scheme to an address that has none. Other errors in it are found later.
func withScheme(address string) string {
	if address == "" || strings.Contains(address, "://") {
		return address
	}
	return "http://" + address
}

// ownSecret reads the secret from the flags or the environment, and reports whether there is one.
func (t *target) ownSecret(cmd *cobra.Command) (bool, error) {
	flags := cmd.Flags()
	switch {
	case flags.Changed("secret") && flags.Changed("secret-file"):
		return false, usage("--secret and --secret-file exclude each other")
	case flags.Changed("secret"):
		return true, nil
	}
	path, variable := t.secretFile, os.Getenv(configs.ClientSecret)
	if !flags.Changed("secret-file") {
		path = strings.TrimSpace(os.Getenv(configs.ClientSecretFile))
		if strings.TrimSpace(variable) != "" {
			if path != "" {
				return false, usage("$%s and $%s exclude each other", configs.ClientSecret, configs.ClientSecretFile)
			}
			t.secret = variable
			return true, nil
		}
		if path == "" {
			return false, nil
		}
	}
	s, err := configs.ReadSecret(path)
	if err != nil {
		return false, fmt.Errorf("the file with the secret: %w", err)
	}
	t.secret = s.Reveal()
	return true, nil
}

// choose returns the app in the configuration, nil if it is not there.
func (t *target) choose(hasApp, hasKey bool) (*configs.App, error) {
	apps := t.config.Apps
	var ids []string
	for i := range apps {
		if a := &apps[i]; hasApp && a.ID == t.app || !hasApp && hasKey && a.Key == t.key {
			return a, nil
		}
		ids = append(ids, apps[i].ID)
	}
	switch {
	case hasApp:
		return nil, nil
	case len(apps) == 1:
		return &apps[0], nil
	case len(apps) == 0:
		return nil, usage("the configuration has no app; name one with --app, --key and --secret-file, or with $%s, $%s and $%s",
			configs.ClientApp, configs.ClientKey, configs.ClientSecret)
	}
	return nil, usage("the configuration has %d apps; choose one with --app: %s", len(apps), strings.Join(ids, ", "))
}

// addressOf returns the URL of a server with this configuration, on its own machine.
func addressOf(c *configs.Config) (string, error) {
	if c.Port == 0 {
		return "", usage("the configuration lets the server take any port; give its address with --url")
	}
	return scheme(c) + net.JoinHostPort(ownHost(c.Host), strconv.Itoa(c.Port)) + c.PathPrefix, nil
}

// ownHost returns how this machine reaches a server that listens on host.
func ownHost(host string) string {
	host = strings.Trim(host, "[]")
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return host
}

// loadClientConfig loads the configuration without flags, because the flags of client commands have other names
// and meanings.
func loadClientConfig(cmd *cobra.Command) (*configs.Config, error) {
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	return configs.Load(configs.Sources{File: file, Environ: os.Environ()})
}

func (t *target) signed(cmd *cobra.Command) (*client.Signed, error) {
	if err := t.complete(cmd, false); err != nil {
		return nil, err
	}
	return t.requests()
}

// requests returns a client that signs requests. The target must be complete.
func (t *target) requests() (*client.Signed, error) {
	options := client.SignedOptions{URL: t.url, AppID: t.app, Key: t.key, Secret: app.Secret(t.secret)}
	if t.tls != nil || t.reach != nil || t.place != "" {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = t.tls
		if t.reach != nil {
			transport.DialContext = t.reach
		}
		options.HTTP = &http.Client{Timeout: 30 * time.Second, Transport: placed{transport, t.place}}
	}
	s, err := client.NewSigned(options)
	if err != nil {
		return nil, usageError{err}
	}
	return s, nil
}

// noUser refuses a URL with a user, which clients cannot send.
func noUser(u *url.URL) error {
	if u.User == nil {
		return nil
	}
	return usage("--url is %q, must have no user and no password: clients cannot send them", shownAddress(u.String()))
}

// hinted is an error with a hint about what to do.
type hinted struct {
	error
	hint string
}

func (e hinted) Error() string { return e.error.Error() + "\n  " + e.hint }
func (e hinted) Unwrap() error { return e.error }

// plainlyAsked reports whether the error may mean that a server with TLS was contacted without.
func plainlyAsked(address string, api *client.APIError) bool {
	return api != nil && api.Status == 400 && api.Code == "" && strings.HasPrefix(address, "http://")
}

// explain adds a hint to an error of contacting the server, if one is known.
func (t *target) explain(err error) error {
	var api *client.APIError
	var closed *client.CloseError
	var unknown x509.UnknownAuthorityError
	var otherName x509.HostnameError
	var dns *net.DNSError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return hinted{err, fmt.Sprintf("Nobody listens at %s. Is `sluice serve` running? Another address is given with --url.", shownAddress(t.url))}
	case errors.As(err, &dns):
		return hinted{err, "Check the host name in --url."}
	case errors.As(err, &unknown):
		return hinted{err, "The certificate of the server is not trusted by this machine. --ca-file FILE names those to trust."}
	case errors.As(err, &otherName):
		return hinted{err, "The certificate of the server is for another name than that in --url."}
	case errors.As(err, &api) && plainlyAsked(t.url, api):
		return hinted{err, "Does the server speak TLS? Then begin --url with https://."}
	case errors.As(err, &api) && api.Status == 401:
		return hinted{err, "Check --app, --key and --secret, and the clock of this machine."}
	case errors.As(err, &api) && api.Status == 404 && api.Code == "":
		return hinted{err, fmt.Sprintf("Is it Sluice that listens at %s?", shownAddress(t.url))}
	case errors.As(err, &closed) && closed.Code == 4001:
		return hinted{err, "Check --key."}
	}
	return err
}

// httpScheme replaces the scheme ws by http, and wss by https.
func httpScheme(address string) string {
	if rest, ok := strings.CutPrefix(address, "ws"); ok {
		return "http" + rest
	}
	return address
}

// serverAddress parses the address of a server from a flag or a variable, and returns it as an HTTP URL.
func serverAddress(text string) (*url.URL, error) {
	u, err := url.Parse(httpScheme(strings.TrimSuffix(withScheme(text), "/")))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, usage("--url is %q, must be a host, or begin with http://, https://, ws:// or wss://, without a query", shownAddress(text))
	}
	return u, nil
}

// shownAddress returns a typed address without anything that may be a password.
func shownAddress(text string) string {
	if !strings.ContainsAny(text, "@?") {
		return text
	}
	return configs.ShownURL(withScheme(text))
}
