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

// distance is Levenshtein's: how many letters to add, drop or change.
func distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i, r := range from {
		diagonal := row[0]
		row[0] = i + 1
		for j, q := range to {
			change := diagonal
			if r != q {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(to)]
}
