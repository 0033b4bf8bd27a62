package app

import "time"

// Key is an earlier pair of credentials. It is accepted in addition to the present pair, so that keys can be
// rotated without refusing anybody.
type Key struct {
	Key    string
	Secret Secret
	// Until is when the pair expires, zero for never.
	Until time.Time
}

func (k *Key) counts(now time.Time) bool { return k.Until.IsZero() || now.Before(k.Until) }

// Accepts reports whether a key is valid for the app at a time.
func (a *App) Accepts(key string, now time.Time) bool {
	if key == a.Key {
		return true
	}
	for i := range a.Earlier {
		if k := &a.Earlier[i]; k.Key == key && k.counts(now) {
			return true
		}
	}
	return false
}

// Verify calls check with each pair of credentials that is valid at a time, until one succeeds. The error is
// that for the present pair.
func (a *App) Verify(now time.Time, check func(key, secret string) error) error {
	err := check(a.Key, a.Secret.Reveal())
	for i := 0; i < len(a.Earlier) && err != nil; i++ {
		if k := &a.Earlier[i]; k.counts(now) && check(k.Key, k.Secret.Reveal()) == nil {
			return nil
		}
	}
	return err
}
