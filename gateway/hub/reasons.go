package hub

// These are texts for close codes that have several causes; [pusher.CloseCode.Message] has the others.
const (
	reasonOrigin       = "the origin %.60q is not among the allowed_origins of the app"
	reasonTerminated   = "the application has terminated the connections of this user"
	reasonUnauthorized = "neither signed in nor joined a private or presence channel within %v"
	reasonFormat       = "the format %.40q is not offered, json is"
	reasonUnsure       = "the app may have reached its connection limit; its connections are being counted; reconnect in a moment"
	reasonRestarting   = "this server is stopping, and no other one is known; reconnect in a moment"
	reasonStopping     = "this server is stopping; reconnect now"
	reasonMissing      = "publications are missing for good; reconnect now and subscribe again"
	reasonAnew         = "what was refused may be had by now; reconnect and ask again"
)
