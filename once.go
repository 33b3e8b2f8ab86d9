package iris

// Once names a request that is to be carried out once, however often it is sent. Its zero value
// names none.
type Once struct {
	ID     string // of the caller, the route and the caller's own key; a hash
	Caller string // whose it is
	Body   string // what is asked for; a hash
}

// IsZero reports whether it names no request.
func (o Once) IsZero() bool { return o.ID == "" }
