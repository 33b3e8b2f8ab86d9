package iris

import (
	"strings"
	"unicode/utf8"
)

// Closest is the word of a list that somebody probably meant by word, for a "did you mean";
// empty when none is near. Near is a third of its letters mistyped, but at least two, and in
// a very short word one. Upper and lower case are the same to it.
func Closest[S ~string](word S, among []S) S {
	var best S
	letters := utf8.RuneCountInString(string(word))
	limit := max(2, letters/3)
	if letters <= 3 {
		limit = 1
	}
	for _, w := range among {
		if d := distance(strings.ToLower(string(word)), strings.ToLower(string(w))); d <= limit {
			best, limit = w, d-1
		}
	}
	return best
}

// distance is how many letters to add, drop, change or swap with the next (Damerau and
// Levenshtein's, each letter once).
func distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	before := make([]int, len(to)+1) // the row before the last
	last := make([]int, len(to)+1)
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i, r := range from {
		before, last, row = last, row, before
		row[0] = i + 1
		for j, q := range to {
			change := last[j]
			if r != q {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && r == to[j-1] && from[i-1] == q {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(to)]
}
