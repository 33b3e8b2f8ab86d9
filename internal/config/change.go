package config

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	iris "github.com/iris-mcp/iris-mcp"
)

// changeTeam gives the text with the settings in the team. One without a value is taken out.
func changeTeam(file string, text []byte, name string, settings []iris.Setting) ([]byte, error) {
	for _, s := range settings {
		var err error
		if text, err = changeSetting(file, text, name, s); err != nil {
			return nil, err
		}
	}
	return text, nil
}

// changeSetting changes the lines of one setting and no other.
func changeSetting(file string, text []byte, name string, s iris.Setting) ([]byte, error) {
	p, err := open(file, text)
	if err != nil {
		return nil, err
	}
	want, err := open(file, text) // the same nodes once more, to be changed
	if err != nil {
		return nil, err
	}
	if p.team(name) < 0 {
		return nil, teamNotFound(name, p.names())
	}
	keys := append([]string{"teams", name}, strings.SplitN(s.Key, ".", 2)...) // env.NAME is two
	if _, err := yaml.Marshal(mapping(s.Key, toNode(s.Value))); err != nil {
		return nil, iris.Errorf(iris.CodeInvalidRequest, "%s cannot be written as YAML", s.Key).Because(err)
	}
	t := p.find(keys...)
	p.at = t.key().Line
	var changed string
	switch rest := keys[len(t):]; {
	case s.Value != nil && len(rest) == 0:
		changed = p.replace(t, toNode(s.Value))
		want.find(keys...).set(toNode(s.Value))
	case s.Value != nil:
		value := toNode(s.Value)
		for _, key := range slices.Backward(rest) {
			value = mapping(key, value)
		}
		changed = p.putInto(t, value)
		want.find(keys...).add(value)
	case len(rest) == 0:
		for len(t) > 3 && len(t.holder().Content) == 2 {
			t, keys = t[:len(t)-1], keys[:len(keys)-1] // with its last variable env goes too
		}
		changed = p.drop(t)
		want.find(keys...).drop()
	default:
		if slices.ContainsFunc(t.value().Content, func(n *yaml.Node) bool { return n.Tag == "!!merge" }) {
			return nil, p.refuse(p.at, s.Key+" may come from an anchor (<<); change it by hand")
		}
		return text, nil
	}
	return p.verified(changed, want.root, s.Key+" cannot be changed here without changing the rest; change it by hand")
}
