package pusher

import "github.com/sluicehq/sluice/gateway/app"

// Gone is the code of the apps whose connections are closed, 0 for others.
func Gone(a *app.App) CloseCode {
	switch {
	case a.Removed:
		return CloseNoSuchApp
	case !a.Enabled:
		return CloseAppDisabled
	}
	return 0
}
