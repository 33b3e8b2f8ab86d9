package agent_test

import (
	"os"
	"testing"

	"github.com/iris-mcp/iris-mcp/agent/agenttest"
)

func TestMain(m *testing.M) {
	agenttest.Main()
	os.Exit(m.Run())
}
