package config_test

import (
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestWhatIsShownIsTheConfiguration: read again, it is the same, and has no secret.
func TestWhatIsShownIsTheConfiguration(t *testing.T) {
	for _, text := range []string{
		"", "api: {port: 0, enabled: false, trustedProxies: [10.0.0.0/8, '::1'], maxBodyBytes: 1000, cors: {origins: ['*']}, tls: {cert: a, key: b}}",
		"settings: {claudePath: ./c$$d, idleTimeout: 1500}\nqueue: {keep: 36h}\nwebhooks: {retryDelays: [1ms, 90s]}",
		"teams: {'null': {path: 'a: # b', description: '$${X}\n\ttwo', warm: 0, allowedTools: [Read, 'Bash(a:*)'], permissions: deny, color: '#fff'}, b: {path: ~/x, model: opus, turnTimeout: 1d}}",
	} {
		c := load(t, text)
		out, err := yaml.Marshal(c.Shown())
		if err != nil {
			t.Fatal(err)
		}
		again := load(t, string(out))
		for _, block := range []string{"API", "Settings", "Queue", "Webhooks", "Teams"} {
			got, want := reflect.ValueOf(*again).FieldByName(block).Interface(), reflect.ValueOf(*c).FieldByName(block).Interface()
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s\nis shown as\n%s\nwhere %s is\n%+v, not\n%+v", text, out, block, got, want)
			}
		}
	}
	c := load(t, "api: {auth: {jwt: {secret: "+strings.Repeat("hunter2", 5)+"}, keys: [{name: a, key: iris_sk_hunter2x, scopes: ['*']}]}}\nteams: {a: {path: ., env: {T: hunter2}}}")
	out, err := yaml.Marshal(c.Shown())
	if err != nil || strings.Contains(string(out), "hunter2") || strings.Contains(string(out), c.Keys[0].Hash) || strings.Count(string(out), "[secret]") != 3 {
		t.Errorf("%s, %v", out, err)
	}
}
