package redis

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/fault"
	"github.com/sluicehq/sluice/test/redisserver"
)

// rights returns the permissions that docs/operations.md asks for.
func rights(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile("(?s)the commands `(.*?)`.*?`(\\+config\\|get)`").FindSubmatch(text)
	if all == nil {
		t.Fatal("docs/operations.md names no rights for Redis")
	}
	return strings.Join(strings.Fields(string(all[1])+" "+string(all[2])), " ")
}

// TestDocumentedRights does everything as a user with the documented permissions and no others. Redis checks
// the commands that scripts call as well.
func TestDocumentedRights(t *testing.T) {
	t.Parallel()
	for name, cluster := range map[string]bool{"single": false, "cluster": true} {
		t.Run(name, func(t *testing.T) {
			var servers []*redisserver.Server
			url := ""
			if cluster {
				c := redisserver.StartCluster(t)
				servers, url = c.Masters[:], c.URL()
			} else {
				s := redisserver.Start(t)
				servers, url = []*redisserver.Server{s}, s.URL()
			}
			for _, s := range servers {
				s.Do("ACL SETUSER gateway on >secret ~sluice:* &sluice:* " + rights(t))
				// No key pattern restricts these commands, which reach keys of other users of the server.
				for _, command := range []string{"FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "KEYS *", "GET other:key", "SUBSCRIBE other:channel"} {
					if s.Do("ACL DRYRUN gateway "+command) == "+OK" {
						t.Errorf("a user with the documented rights may use %s", command)
					}
				}
			}
			everything(t, open(t, strings.Replace(url, "redis://", "redis://gateway:secret@", 1), cluster))
		})
	}
}

// TestMissingRightsEndTheStart: before, a gateway whose user may not run the commands in the scripts could
// start, and then could not store anything.
func TestMissingRightsEndTheStart(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	server.Do("ACL SETUSER gateway on >secret ~sluice:* &sluice:* " + strings.Replace(rights(t), " +time", "", 1))
	_, err := Open(t.Context(), Options{
		URL:  Secret(strings.Replace(server.URL(), "redis://", "redis://gateway:secret@", 1)),
		Apps: []AppOptions{{ID: "app-1"}},
	})
	if err == nil || !strings.Contains(err.Error(), "rights of the user") {
		t.Errorf("opening without the right to TIME: got %v, want an error about rights", err)
	}
}

// TestWhatIsNotPermittedIsNotStored: if the user lacks one permission, at the start or later, an event whose
// publish fails is not stored; otherwise a retry would store it twice. Before, a publish was announced and
// given its expiry after the event was stored, and failed there.
func TestWhatIsNotPermittedIsNotStored(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	all := "ACL SETUSER gateway reset on >secret ~sluice:* &sluice:* " + rights(t)
	server.Do(all)
	url := strings.Replace(server.URL(), "redis://", "redis://gateway:secret@", 1)
	l := open(t, url, false)
	for i, lack := range []string{"resetchannels", "-publish", "-pexpire", "-xtrim", "-xrange", "-xadd", "-set", "-hset", "-get", "-hmget"} {
		server.Do(all + " " + lack)
		channel := fmt.Sprint("c", i)
		event := plain(channel, "x")
		event.Count = broker.Count{Interval: 3, Value: "v", MaxValues: 1}
		_, err := l.Publish(t.Context(), "app-1", event)
		var refused *broker.Refused
		if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "permit") {
			t.Errorf("publishing with %s: %v, want that it is not permitted", lack, err)
		}
		if strings.Contains(lack, "channels") || strings.Contains(lack, "publish") {
			if err := l.Cast(t.Context(), "app-1", event); !errors.As(err, &refused) {
				t.Errorf("casting with %s: %v, want that it is not permitted", lack, err)
			}
		}
		if got := server.Do("XLEN " + l.keys.channel("app-1", channel).stream); got != ":0" {
			t.Errorf("publishing with %s: refused, and the stream has %s entries", lack, got)
		}
		l.tryStoring()
		if l.Health().Ready {
			t.Errorf("publishing with %s: ready while nothing can be stored", lack)
		}
		if later, err := Open(t.Context(), Options{URL: Secret(url), Apps: []AppOptions{{ID: "app-1"}}}); err == nil {
			_ = later.Close()
			t.Errorf("the start with %s: it succeeded, and nothing can be stored", lack)
		}
		server.Do(all)
		until(t, "the log is ready", func() bool {
			l.tryStoring()
			return l.Health().Ready
		})
	}
}

func everything(t *testing.T, l *Log) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := attachTo(t, l, "c")
	event := plain("c", "x")
	event.Event.DedupID, event.Count = "id", broker.Count{Interval: 3, Value: "v", MaxValues: 1}
	r, err := l.Publish(ctx, "app-1", event)
	if err != nil {
		t.Fatal("publishing: ", err)
	}
	until(t, "the event is delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == 1 })
	if _, err := l.After(ctx, "app-1", "c", r[0].Position, 1); err != nil {
		t.Error("reading: ", err)
	}
	if _, err := l.Purge(ctx, "app-1", "c", 0); err != nil {
		t.Error("purging: ", err)
	}
	if err := l.lostPart(ctx, l.apps.Of("app-1"), r[0].Epoch); err != nil {
		t.Error("beginning a new epoch: ", err)
	}
	table, err := l.OpenTable(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Put(ctx, "a.b.c", []byte("v"), time.Minute); err != nil {
		t.Error("storing a record: ", err)
	}
	if _, err := table.Read(ctx, "a.b.c"); err != nil {
		t.Error("reading a record: ", err)
	}
	if err := table.Purge(ctx, "a.>", 1<<62); err != nil {
		t.Error("removing records: ", err)
	}
	work := l.OpenWork()
	if _, err := work.Put(ctx, "q", broker.Task{ID: "t", Body: []byte("b")}); err != nil {
		t.Error("storing a task: ", err)
	}
	taking, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	err = work.Take(taking, "q", 1, func(task broker.Taken) {
		done <- task.Done(ctx)
		end()
	})
	if taken := <-done; taken != nil {
		t.Errorf("taking a task: %v, %v", taken, err)
	}
	// This is what `sluice app remove` does.
	if n, err := l.Measure(ctx, "app.2"); err != nil || n == 0 {
		t.Errorf("measuring an app: %d keys, %v", n, err)
	}
	if err := l.RemoveApp(ctx, "app.2"); err != nil {
		t.Error("removing an app: ", err)
	}
	until(t, "the log is ready", func() bool { return l.Health().Ready })
}

// TestTLS connects to a server that requires client certificates, and is refused where it must be.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := newAuthority(t, dir)
	cert, key := authority.issue(t, dir, "server")
	port := fmt.Sprint(fault.Ports(t, 1)[0])
	server := redisserver.Start(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key,
		"--tls-ca-cert-file", authority.file, "--tls-auth-clients", "yes")
	server.Do("ACL SETUSER gateway on >secret ~sluice:* &sluice:* " + rights(t))
	url := "rediss://gateway:secret@127.0.0.1:" + port
	clientCert, clientKey := authority.issue(t, dir, "client")
	everything(t, open(t, url, false, func(o *Options) {
		o.CAFile, o.CertFile, o.KeyFile = authority.file, clientCert, clientKey
	}))
	apps := []AppOptions{{ID: "app-1"}}
	for name, opt := range map[string]Options{
		"without the authority":    {URL: Secret(url), CertFile: clientCert, KeyFile: clientKey},
		"without a certificate":    {URL: Secret(url), CAFile: authority.file},
		"with the wrong password":  {URL: Secret(strings.Replace(url, "secret", "guess", 1)), CAFile: authority.file, CertFile: clientCert, KeyFile: clientKey},
		"with a missing authority": {URL: Secret(url), CAFile: dir + "/none"},
	} {
		opt.Apps, opt.StartTimeout = apps, time.Second
		if l, err := Open(t.Context(), opt); err == nil {
			_ = l.Close()
			t.Errorf("opened %s", name)
		} else if text := err.Error(); strings.Contains(text, "secret") || strings.Contains(text, "guess") {
			t.Errorf("the error tells the password: %s", text)
		}
	}
}

// authority issues certificates for this machine.
type authority struct {
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir string) *authority {
	a := &authority{file: dir + "/ca.pem", cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	a.key = newKey(t)
	writePEM(t, a.file, "CERTIFICATE", a.sign(t, a.cert, a.key))
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(t *testing.T, cert *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (a *authority) issue(t *testing.T, dir, name string) (certFile, keyFile string) {
	key := newKey(t)
	der := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, key)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = dir+"/"+name+".pem", dir+"/"+name+".key"
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", secret)
	return certFile, keyFile
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
