"""Audio of any length to transcriptions: windows, segments, streaming, one engine for all commands."""
