"""Lambda entry points: parse the event, call one service, report. No decisions live here."""
