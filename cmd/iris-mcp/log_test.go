package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestALogThatNobodyReadsHoldsUpNobody(t *testing.T) {
	home := t.TempDir()
	r, w := io.Pipe()
	log, end, err := openLog(home, w)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2 * asideLines {
			log.Info("hello")
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("who logs waits for the one who does not read")
	}
	var shown bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(&shown, r)
	}()
	if err := end(); err != nil {
		t.Error(err)
	}
	w.Close()
	<-read
	if n := strings.Count(shown.String(), "hello"); n < asideLines || !strings.Contains(shown.String(), "lines are in iris.log only") {
		t.Errorf("then %d lines are shown, and at the end %q", n, shown.String()[max(0, shown.Len()-200):])
	}
	if kept, err := os.ReadFile(filepath.Join(home, "iris.log")); bytes.Count(kept, []byte("hello")) != 2*asideLines {
		t.Errorf("%d lines are kept, %v", bytes.Count(kept, []byte("hello")), err)
	}
}

func TestTheEndDoesNotWaitForWhoDoesNotRead(t *testing.T) {
	_, w := io.Pipe()
	log, end, err := openLog(t.TempDir(), w)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hello")
	began := time.Now()
	if err := end(); err != nil || time.Since(began) > 10*asideEnd {
		t.Errorf("it ended after %v: %v", time.Since(began), err)
	}
}
