package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sign gives the headers of a delivery: Standard Webhooks 1.0.0,
// github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. With
// several secrets it has a signature by each, and a receiver that knows one of them is content.
func sign(secrets []string, id string, at time.Time, body []byte) (map[string]string, error) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	var signatures []string
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
		if err != nil {
			return nil, fmt.Errorf("read a webhook secret: %w", err)
		}
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return map[string]string{
		"webhook-id": id, "webhook-timestamp": stamp, "webhook-signature": strings.Join(signatures, " "),
	}, nil
}

const (
	secretPrefix = "whsec_"
	secretBytes  = 32
	secretFile   = "webhook.secret" // in the data folder
)

// Overlap is how long a secret that was replaced still signs beside the new one.
const Overlap = 24 * time.Hour

// secretLine is a line of the file: a secret, and if it was replaced until when (Unix ms) it
// is still good.
var secretLine = regexp.MustCompile(`^(whsec_[A-Za-z0-9+/]{32,88}={0,2})(?: ([0-9]{1,15}))?$`)

// Secrets reads the secrets from the data folder, the newest first, and makes the first one if
// there is none. A file that others may have read is refused.
func Secrets(dir string) (secrets []string, err error) {
	err = withSecrets(dir, func(file *os.File, lines []string) error {
		if len(lines) == 0 {
			lines = []string{newSecret()}
			err = write(file, lines)
		}
		for _, line := range lines {
			secret, _, _ := strings.Cut(line, " ")
			secrets = append(secrets, secret)
		}
		return err
	})
	return secrets, err
}

// Rotate makes a new secret. The one before it stays good for Overlap, so that receivers can be
// told of the new one meanwhile.
func Rotate(dir string) (secret string, err error) {
	secret = newSecret()
	err = withSecrets(dir, func(file *os.File, lines []string) error {
		if len(lines) > 0 {
			lines[0] += " " + strconv.FormatInt(time.Now().Add(Overlap).UnixMilli(), 10)
		}
		return write(file, append([]string{secret}, lines...))
	})
	return secret, err
}

func newSecret() string {
	var key [secretBytes]byte
	rand.Read(key[:])
	return secretPrefix + base64.StdEncoding.EncodeToString(key[:])
}

// withSecrets reads the file under its lock: the lines that are still good, the newest first.
func withSecrets(dir string, do func(file *os.File, lines []string) error) (err error) {
	path := filepath.Join(dir, secretFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("open the webhook secret: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX) // closing the file lets go of it
	}
	if err != nil {
		return fmt.Errorf("lock the webhook secret: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("look at the webhook secret: %w", err)
	}
	if loose := info.Mode().Perm() & 0o077; loose != 0 || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is open to others (mode %04o), so the secret may be known: remove it, and the next start makes a new one", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(file, 64<<10))
	if err != nil {
		return fmt.Errorf("read the webhook secret: %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		m := secretLine.FindStringSubmatch(strings.TrimSpace(line))
		switch {
		case m == nil && len(lines) == 0:
			return fmt.Errorf("%s holds no webhook secret: remove it, and the next start makes a new one", path)
		case m == nil: // the rest of a longer text that was being replaced
		case m[2] == "" && len(lines) == 0:
			lines = append(lines, m[0])
		case m[2] != "":
			if until, err := strconv.ParseInt(m[2], 10, 64); err == nil && time.Now().UnixMilli() < until {
				lines = append(lines, m[0])
			}
		}
	}
	return do(file, lines)
}

func write(file *os.File, lines []string) error {
	text := strings.Join(lines, "\n") + "\n"
	_, err := file.WriteAt([]byte(text), 0)
	if err == nil {
		err = file.Truncate(int64(len(text)))
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the webhook secret: %w", err)
	}
	return nil
}
