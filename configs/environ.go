package configs

import (
	"regexp"
	"sort"
	"strings"
	"sync"
)

// envPrefix begins the variables of keys.
const envPrefix = "SLUICE_"

// fileVariable are names of variables with which other programs set their configuration file.
var fileVariable = map[string]bool{"SLUICE_CONFIG": true, "SLUICE_CONFIG_FILE": true, "SLUICE_CONFIG_PATH": true}

// plainVariables are variables without the prefix that are accepted as well.
var plainVariables = map[string]string{"PORT": "port", "ADAPTER_DRIVER": "adapter.driver", "REDIS_URL": "redis_url", "SSL_CERT_PATH": "tls.cert_file", "SSL_KEY_PATH": "tls.key_file", "RUST_LOG": ""}

// The variables of client commands. A server that finds them ignores them and logs that.
const (
	ClientURL        = "SLUICE_URL"
	ClientApp        = "SLUICE_APP"
	ClientKey        = "SLUICE_KEY"
	ClientSecret     = "SLUICE_SECRET"
	ClientSecretFile = "SLUICE_SECRET_FILE"
)

func clientVariable(name string) bool {
	switch name {
	case ClientURL, ClientApp, ClientKey, ClientSecret, ClientSecretFile:
		return true
	}
	return false
}

var (
	linkName = regexp.MustCompile(`^SLUICE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	linkPort = regexp.MustCompile(`^SLUICE_([A-Z0-9_]+_)?PORT$`)
	linkURL  = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// serviceLink reports whether Kubernetes made a variable for a service whose name is sluice or begins with it.
// Such variables are in every pod of the namespace.
func serviceLink(name, value string) bool {
	return linkName.MatchString(name) || linkPort.MatchString(name) && linkURL.MatchString(value)
}

// passed are variables with the prefix that set no key.
type passed struct{ links, clients []string }

// variablesOfKeys returns the keys by the names of their variables, and these names without the prefix.
var variablesOfKeys = sync.OnceValues(func() (byName map[string]*key, known []string) {
	byName = map[string]*key{}
	for i := range keys {
		byName[keys[i].env()] = &keys[i]
		// The common prefix would make all names similar.
		known = append(known, strings.TrimPrefix(keys[i].env(), envPrefix))
	}
	return byName, known
})

// fromEnviron reads the variables of keys.
func fromEnviron(environ []string, p *problems) (out map[string]any, over passed) {
	byName, known := variablesOfKeys()
	out = map[string]any{}
	for pass := range 2 {
		for _, variable := range environ {
			name, v, _ := strings.Cut(variable, "=")
			target, plain := plainVariables[name]
			// The variables with the prefix are read last and win.
			if plain != (pass == 0) || plain && target == "" || !plain && !strings.HasPrefix(name, envPrefix) {
				continue
			}
			if strings.TrimSpace(v) == "" {
				continue
			}
			k := byName[strings.ReplaceAll(name, "__", "_")]
			switch {
			case plain:
				k = find(keys, target)
			case clientVariable(name):
				over.clients = append(over.clients, name)
				continue
			case serviceLink(name, v):
				over.links = append(over.links, name)
				continue
			case k == nil && fileVariable[name]:
				p.add("%s is not a known key; the configuration file is given with --config", name)
				continue
			case k == nil:
				unknown(p, envPrefix, strings.TrimPrefix(name, envPrefix), known)
				continue
			}
			if value, ok := k.fromVariable(name, v, p); ok {
				out[k.name] = value
			}
		}
	}
	sort.Strings(over.links)
	sort.Strings(over.clients)
	readSecrets("", keys, out, p)
	return out, over
}

// fromVariable returns the value of a key from a variable. Structures are JSON.
func (k *key) fromVariable(name, v string, p *problems) (any, bool) {
	if k.kind != tree {
		return k.value(k.name+" (environment variable "+name+")", v, p)
	}
	parsed, err := parseJSON([]byte(v))
	if err != nil {
		p.at(k.name, "%s (environment variable %s) is not JSON: %v", k.name, name, err)
		return nil, false
	}
	return parsed, true
}
