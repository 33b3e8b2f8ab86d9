package iris

import (
	"encoding/binary"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestCrockford(t *testing.T) {
	number := func(hi, lo uint64) (id [16]byte) {
		binary.BigEndian.PutUint64(id[:8], hi)
		binary.BigEndian.PutUint64(id[8:], lo)
		return id
	}
	tests := []struct {
		name string
		id   [16]byte
		want string
	}{
		{"zero", number(0, 0), "00000000000000000000000000"},
		{"the greatest, as the ULID specification has it", number(^uint64(0), ^uint64(0)), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"},
		{"the time of the specification's example", number(1469918176385<<16, 0), "01ARYZ6S410000000000000000"},
		{"the digits up", number(0x0008_8642_98e8_4a96, 0xc6b9_f08c_a74a_daf8), "00123456789ABCDEFGHJKMNPQR"},
		{"the digits down", number(0x3ff7_79bd_6717_b569, 0x3946_0f73_58b5_2507), "1ZYXWVTSRQPNMKJHGFEDCBA987"},
		{"the bits on both sides of the middle", number(1, 1<<63), "0000000000000R000000000000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := crockford(tt.id); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestIDsSortByTheirMaking(t *testing.T) {
	form := regexp.MustCompile(`^msg_[0-7][0-9A-HJKMNP-TV-Z]{25}$`)
	ids := make([]string, 10_000)
	for i := range ids {
		ids[i] = NewID(MessagePrefix)
		if !form.MatchString(ids[i]) {
			t.Fatalf("%s is no id", ids[i])
		}
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != len(ids) {
		t.Error("they do not grow")
	}
}

func TestIDsGrowWhenTheClockGoesBack(t *testing.T) {
	before := NewID("")
	ulids.Lock()
	was := ulids.ms
	ulids.ms += uint64(time.Hour.Milliseconds()) // as if the last one had been made an hour from now
	ulids.Unlock()
	defer func() {
		ulids.Lock()
		ulids.ms = was
		ulids.Unlock()
	}()
	ahead := NewID("")
	if after := NewID(""); !(before < ahead && ahead < after) {
		t.Errorf("%s, %s, %s do not grow", before, ahead, after)
	}
}

func TestIDsOfOneMillisecondCountUpThroughEveryByte(t *testing.T) {
	ulids.Lock()
	was, tail := ulids.ms, ulids.tail
	ulids.ms += uint64(time.Hour.Milliseconds())
	ulids.tail = [10]byte{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}
	ulids.Unlock()
	defer func() {
		ulids.Lock()
		ulids.ms, ulids.tail = was, tail
		ulids.Unlock()
	}()
	a, b := NewID(""), NewID("")
	if a >= b || !strings.HasSuffix(a, "FZZZZZZZZZZZZZZZ") || !strings.HasSuffix(b, "G000000000000000") {
		t.Errorf("%s is followed by %s", a, b)
	}
}

func TestConcurrentIDsDiffer(t *testing.T) {
	const goroutines, each = 8, 2000
	var all [goroutines][]string
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for range each {
				all[g] = append(all[g], NewID(JobPrefix))
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, ids := range all {
		if !slices.IsSorted(ids) {
			t.Error("those of one goroutine do not grow")
		}
		for _, id := range ids {
			seen[id] = true
		}
	}
	if len(seen) != goroutines*each {
		t.Errorf("%d ids, want %d", len(seen), goroutines*each)
	}
}

func TestAMessageAndItsJobShareAULID(t *testing.T) {
	m := Message{ID: NewID(MessagePrefix)}
	if got := MessageID(m.JobID()); got != m.ID {
		t.Errorf("%s has the job %s, which has the message %s", m.ID, m.JobID(), got)
	}
	for id, want := range map[string]string{"msg_1": "msg_1", "job_1": "msg_1", "ses_1": "ses_1", "": "", "1": "1"} {
		if got := MessageID(id); got != want {
			t.Errorf("the message of %q is %q, want %q", id, got, want)
		}
	}
	for id, want := range map[string]string{"msg_1": "1", "1": "1", "": ""} {
		if got := ULID(id); got != want {
			t.Errorf("the ULID of %q is %q, want %q", id, got, want)
		}
	}
}
