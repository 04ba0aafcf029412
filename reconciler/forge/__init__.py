"""Forges: the comment of a pull request and the status of a commit, at GitHub, GitLab and Azure DevOps.

`ci` says what a run knows of itself, `opening` makes a forge of it, `comments` keeps one comment up to date. Commands
and the daemon use these; nothing here knows of plans.
"""
