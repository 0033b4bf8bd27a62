package pusher

import "github.com/sluicehq/sluice/gateway/app"

// Gone returns the code with which connections of a removed or disabled app are closed, 0 for other apps.
func Gone(a *app.App) CloseCode {
	switch {
	case a.Removed:
		return CloseNoSuchApp
	case !a.Enabled:
		return CloseAppDisabled
	}
	return 0
}
