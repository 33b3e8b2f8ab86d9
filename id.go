package iris

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Prefixes of ids. Ids are opaque outside Iris; inside, they sort by creation.
const (
	MessagePrefix = "msg_"
	JobPrefix     = "job_"
	SessionPrefix = "ses_"

	PermissionPrefix = "per_"
)

// ulids makes ULIDs that grow even within a millisecond.
var ulids struct {
	sync.Mutex
	ms   uint64
	tail [10]byte
}

// NewID makes an id: the prefix and a ULID (github.com/ulid/spec). Ids made by one process
// sort in the order of their making, whatever the clock does. Safe for concurrent use.
func NewID(prefix string) string {
	ulids.Lock()
	defer ulids.Unlock()
	if ms := uint64(time.Now().UnixMilli()); ms > ulids.ms {
		ulids.ms = ms
		rand.Read(ulids.tail[:])
		ulids.tail[0] &= 0x7f // room to count up
	} else {
		for i := len(ulids.tail) - 1; i >= 0; i-- {
			if ulids.tail[i]++; ulids.tail[i] != 0 {
				break
			}
		}
	}
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], ulids.ms<<16)
	copy(id[6:], ulids.tail[:])
	return prefix + crockford(id)
}

// crockford writes 128 bits as 26 characters of Crockford's base 32, most significant first.
func crockford(id [16]byte) string {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	var out [26]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = alphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
}

// NewUUID makes a random UUID (RFC 9562, version 4), the form of the CLI's own ids.
func NewUUID() string {
	var u [16]byte
	rand.Read(u[:])
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// ULID is an id without its prefix.
func ULID(id string) string {
	if i := strings.LastIndexByte(id, '_'); i >= 0 {
		return id[i+1:]
	}
	return id
}

// MessageID gives the message's id for a message's or a job's, which share one ULID.
func MessageID(id string) string {
	if u, ok := strings.CutPrefix(id, JobPrefix); ok {
		return MessagePrefix + u
	}
	return id
}
