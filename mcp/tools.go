package mcp

import iris "github.com/iris-mcp/iris-mcp"

// addTools gives the server its tools. The scopes are those of the tools' REST twins; the
// local user and teams have them all.
func (s *Server) addTools() {
	add(s, tool{
		name:  "ask_team",
		title: "Ask a team",
		description: "Ask another team a question and wait for its answer. A team is a Claude Code that works in its own project folder: it can read and search " +
			"that project, knows its conventions and remembers your earlier questions. Use it whenever you need to know something about a project that is not " +
			"the one you work in: its API, its behaviour, its plans. Put everything the team needs into the question.\n" +
			"It may take minutes. The result has the answer in \"response\". An error begins with a code and says what to do; after a TIMEOUT the team goes on, " +
			"so call check_message with the message id instead of asking again.",
		scopes:    []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesWrite},
		openWorld: true,
		always:    true,
	}, s.ask)
	add(s, tool{
		name:  "ask_teams",
		title: "Ask several teams",
		description: "Ask several teams the same question at once and wait for all answers; faster than one ask_team after the other. Use it to compare projects or " +
			"to find out which of them something concerns.\n" +
			"The result has each team's own answer or error, and says how many answered. It is an error as a whole only if no team answered.",
		scopes:    []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesWrite},
		openWorld: true,
	}, s.askMany)
	add(s, tool{
		name:  "tell_team",
		title: "Tell a team",
		description: "Hand a task or a piece of news to another team without waiting for it. It is queued and survives a restart; a team does its tasks one after the " +
			"other, and one that fails in a way that may pass, or that the end of Iris cuts off, is begun again. Use it for work that takes long or whose result you do not need now; use ask_team for a question.\n" +
			"The result has the messageId at once, not the team's answer: check_message has that when it is done, cancel_message stops it.",
		scopes:      []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesWrite},
		destructive: true,
		openWorld:   true,
	}, s.tell)
	add(s, tool{
		name:  "check_message",
		title: "Check a message",
		description: "See what became of a message: one from tell_team, or an ask_team that ended with TIMEOUT. With \"wait\" it waits that long for the end, which is " +
			"better than calling again and again.\n" +
			"The result has the status; \"response\" is there only if it is completed, \"error\" if it failed or was cancelled. MESSAGE_NOT_FOUND: the id is wrong, or not yours to see.",
		readOnly:   true,
		idempotent: true,
	}, s.check)
	add(s, tool{
		name:  "cancel_message",
		title: "Cancel a message",
		description: "Stop a message that waits or that a team is working on, when its answer is no longer wanted. What the team has done by then stays done.\n" +
			"The result says whether it was cancelled; one that had ended before is left as it was.",
		scopes:      []iris.Scope{iris.ScopeMessagesWrite},
		destructive: true,
		idempotent:  true,
	}, s.cancelMessage)
	add(s, tool{
		name:  "list_teams",
		title: "List the teams",
		description: "List the teams that can be asked, with what each is about. Use it to find out whom to ask, or after TEAM_NOT_FOUND.\n" +
			"The result has name and description of each; the one marked \"you\" is the project in which you work yourself. If there are none, tell the user how to add one.",
		scopes:     []iris.Scope{iris.ScopeTeamsRead},
		readOnly:   true,
		idempotent: true,
		always:     true,
	}, s.list)
	add(s, tool{
		name:  "team_status",
		title: "Status of teams",
		description: "See what one team or all teams are doing: asleep, busy, how many messages wait, what the last error was. Use it when a team is slow or fails, or when the user asks. " +
			"There is no need to call it before asking: a team that is asleep wakes when it is asked.\n" +
			"The result has the state, the queue, the processes and the costs of each team.",
		scopes:     []iris.Scope{iris.ScopeTeamsRead},
		readOnly:   true,
		idempotent: true,
	}, s.status)
	add(s, tool{
		name:  "wake_team",
		title: "Wake a team",
		description: "Start a team's Claude Code before it is asked, so that its first answer comes sooner. Use it only when the user wants teams to be ready: a team that is asleep " +
			"wakes by itself when it is asked, and goes back to sleep when it is not used.\n" +
			"The result says of each team whether it is awake, or why not. It is an error as a whole only if none is.",
		scopes:     []iris.Scope{iris.ScopeProcessesManage},
		idempotent: true,
		openWorld:  true,
	}, s.wake)
	add(s, tool{
		name:  "sleep_team",
		title: "Put a team to sleep",
		description: "End a team's idle Claude Code processes to free their memory. Use it when the user asks for it, or when a team behaves as if it had old settings. What a team is " +
			"working on is finished first; conversations are kept and go on when it is asked again.\n" +
			"The result says how many processes ended and how many are still busy.",
		scopes:     []iris.Scope{iris.ScopeProcessesManage},
		idempotent: true,
	}, s.sleep)
}
