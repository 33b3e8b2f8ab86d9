package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	sdk "github.com/iris-mcp/go-client"
	"github.com/spf13/cobra"
)

func historyCmd() *cobra.Command {
	var (
		f             sdk.HistoryFilter
		status, since string
		asJSON        bool
	)
	cmd := &cobra.Command{
		Use:   "history [ID]",
		Short: "Show what was asked, newest first, or one message in full",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				m, err := client.Messages.Get(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), m)
				}
				return printMessage(cmd.OutOrStdout(), m)
			}
			if f.Limit < 1 || f.Page < 1 {
				return usage("--limit and --page count from 1")
			}
			f.Status = sdk.Status(status)
			if f.Since, err = parseSince(since, time.Now()); err != nil {
				return err
			}
			history, err := client.Messages.History(cmd.Context(), f)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), history)
			}
			return printHistory(cmd.OutOrStdout(), history)
		},
	}
	cmd.Flags().StringVar(&f.Team, "team", "", "only what was said to this team")
	cmd.Flags().StringVar(&f.From, "from", "", `only what this caller said: a team, "api" or "local"`)
	cmd.Flags().StringVarP(&f.Query, "search", "q", "", "only those in whose question or answer all these words stand")
	cmd.Flags().StringVar(&status, "status", "", "only these: queued, processing, completed, failed or cancelled")
	cmd.Flags().StringVar(&since, "since", "", "only what is younger: 30m, 24h, 7d, or a date (2026-01-31)")
	cmd.Flags().IntVar(&f.Limit, "limit", 20, "how many, up to 200")
	cmd.Flags().IntVar(&f.Page, "page", 1, "which page of so many")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	complete(cmd, "status", "queued", "processing", "completed", "failed", "cancelled")
	return clientFlags(cmd)
}

// parseSince reads an age or a date; a date is the local midnight that begins it.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if age, err := parseAge(text); err == nil {
		return now.Add(-age), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, usage("--since %q is neither an age (30m, 24h, 7d) nor a date (2026-01-31)", text)
}

// parseAge reads a positive duration; unlike Go's, it may be in days: 90d.
func parseAge(text string) (time.Duration, error) {
	var age time.Duration
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n > 36500 {
			return 0, fmt.Errorf("%q is no number of days", text)
		}
		age = time.Duration(n * 24 * float64(time.Hour))
	} else {
		var err error
		if age, err = time.ParseDuration(text); err != nil {
			return 0, fmt.Errorf("%q is no length of time", text)
		}
	}
	if age <= 0 {
		return 0, fmt.Errorf("%q is not longer than nothing", text)
	}
	return age, nil
}

// duration is a flag with a positive duration, as parseAge reads it.
type duration time.Duration

func (d *duration) Type() string { return "duration" }

func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

func (d *duration) Set(text string) error {
	age, err := parseAge(text)
	if err != nil {
		return errors.New("it looks like 90s, 5m or 2h")
	}
	*d = duration(age)
	return nil
}

// asker is who asked: a team, the local user, or an API key by its name.
func asker(m sdk.Message) string {
	if m.Caller != "" {
		return m.From + ":" + m.Caller
	}
	return m.From
}

func printHistory(w io.Writer, h *sdk.History) error {
	if len(h.Messages) == 0 {
		_, err := fmt.Fprintln(w, "no message")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHEN\tID\tFROM\tTO\tSTATUS\tTOOK\tMESSAGE")
	for _, m := range h.Messages {
		took := "-"
		if m.Status.Final() {
			took = span(m.Duration.Duration)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Timestamp.Local().Format(time.DateTime), m.MessageID, asker(m), m.To, m.Status, took, oneLine(m.Message, 60))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if p := h.Pagination; p.HasNext {
		more := ""
		if p.TotalCapped {
			more = "more than "
		}
		fmt.Fprintf(w, "%d of %s%d; the same with --page %d shows more\n", len(h.Messages), more, p.Total, p.Page+1)
	}
	return nil
}

func printMessage(w io.Writer, m *sdk.Message) error {
	fmt.Fprintf(w, "%s: %s → %s, %s", m.MessageID, m.From, m.To, m.Status)
	if m.Status.Final() {
		fmt.Fprintf(w, " after %s", span(m.CompletedAt.Sub(m.CreatedAt.Time)))
	}
	fmt.Fprintf(w, " (%s)\n", m.CreatedAt.Local().Format(time.DateTime))
	if m.Message != "" {
		fmt.Fprintf(w, "\n%s\n", printable(m.Message))
	}
	if m.Response != "" {
		fmt.Fprintf(w, "\n%s\n", printable(m.Response))
	}
	if m.Error != "" {
		fmt.Fprintf(w, "\n%s: %s\n", m.Code, printable(m.Error))
	}
	for _, d := range m.Deliveries {
		fmt.Fprintf(w, "\n%s\n", printable(delivery(d)))
	}
	return nil
}

// delivery says how far a callback has come.
func delivery(d sdk.Delivery) string {
	text := fmt.Sprintf("callback %s: %s, attempts: %d", d.URL, d.State, len(d.Attempts))
	if n := len(d.Attempts); n > 0 && d.Attempts[n-1].Error != "" {
		text += "; the last: " + d.Attempts[n-1].Error
	}
	if !d.NextAttempt.IsZero() {
		text += "; the next at " + d.NextAttempt.Local().Format(time.DateTime)
	}
	return text
}

// oneLine is the beginning of a text, as long as fits beside other things.
func oneLine(text string, most int) string {
	line := []rune(strings.Join(strings.Fields(printable(text)), " "))
	if len(line) > most {
		line = append(line[:most-1], '…')
	}
	return string(line)
}
