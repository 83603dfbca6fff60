"""Tests of the project; support/ holds what several of them use."""
