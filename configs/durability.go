package configs

import (
	"fmt"
	"strings"
	"time"
)

// Level returns the durability that results from the settings, as it could have been configured, or auto if
// Sluice does not decide it.
func (c *Config) Level() string {
	least, most := c.NATS.Replicas, c.NATS.Replicas
	for i := range c.Apps {
		if r := c.Apps[i].Replicas; r > 0 {
			least, most = min(least, r), max(most, r)
		}
	}
	switch {
	case c.Durability != "auto" || c.Driver != "nats":
		return c.Durability
	case c.Embeds() || most <= 1:
		return "process"
	case least >= 3:
		return "replicated"
	}
	return c.Durability
}

// checkKept checks the retention of an app; where names it in messages.
func (c *Config) checkKept(where string, a *App, p *problems) {
	replicas := where + "history_replicas"
	if a.Replicas > 1 && p.sound("nats.url", "adapter.driver") && (c.Driver != "nats" || c.Embeds()) {
		p.at(replicas, "%s is %d, but only a cluster at nats.url keeps copies", replicas, a.Replicas)
	}
	if c.Durability == "replicated" && a.Replicas > 0 && a.Replicas < 3 {
		p.at(replicas, "%s is %d, but durability is replicated and needs 3 or more", replicas, a.Replicas)
	}
	if h := &c.History; c.Driver == "local" && (a.MaxMessages != h.MaxMessages || a.MaxBytes != h.MaxBytes || a.Retention != h.Retention) {
		p.add("%s has history settings of its own, but with adapter.driver local all apps have those of history", strings.TrimSuffix(where, "."))
	}
	if seconds := where + "history_retention_seconds"; a.Retention < time.Minute {
		p.at(seconds, "%s is %d, must be 0 or 60 or more", seconds, int(a.Retention/time.Second))
	}
}

// checkDurability checks that the other settings can provide the durability.
func (c *Config) checkDurability(p *problems) {
	for i := range c.Apps {
		c.checkKept(fmt.Sprintf("apps[%d].", i), &c.Apps[i], p)
	}
	switch {
	case c.Durability == "auto" || !p.sound("durability", "adapter.driver", "nats.url", "nats.replicas"):
	case c.Driver != "nats":
		p.at("durability", "durability is %q, but with adapter.driver %q it is not Sluice that decides about it; leave it out", c.Durability, c.Driver)
	case c.Durability == "replicated" && c.Embeds():
		p.at("durability", "durability is \"replicated\", but an embedded server keeps one copy; set nats.url to a cluster")
	case c.Durability == "replicated" && c.NATS.Replicas < 3:
		p.at("durability", "durability is \"replicated\" and nats.replicas is %d, must be 3 or more", c.NATS.Replicas)
	case c.Durability == "machine" && !c.Embeds():
		p.at("durability", "durability is \"machine\", but how the servers at nats.url synchronise their disks is not ours to set and cannot be asked; use replicated, or leave it out")
	case c.Durability == "process" && c.NATS.Replicas > 1:
		p.at("durability", "durability is \"process\" and nats.replicas is %d; use replicated, or leave one of them out", c.NATS.Replicas)
	}
}
