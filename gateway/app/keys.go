package app

import "time"

// Key is a pair of credentials that an app had before its present ones. It counts as well, so
// that keys can be exchanged without anybody being refused.
type Key struct {
	Key    string
	Secret Secret
	// Until is when it counts no more, zero for never.
	Until time.Time
}

func (k *Key) counts(now time.Time) bool { return k.Until.IsZero() || now.Before(k.Until) }

// Accepts says whether a key is one of the app's at a time.
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

// Verify checks something that was signed with the credentials of the app, with each pair that
// counts at a time until one fits. The error is that of the present pair.
func (a *App) Verify(now time.Time, check func(key, secret string) error) error {
	err := check(a.Key, a.Secret.Reveal())
	for i := 0; i < len(a.Earlier) && err != nil; i++ {
		if k := &a.Earlier[i]; k.counts(now) && check(k.Key, k.Secret.Reveal()) == nil {
			return nil
		}
	}
	return err
}
