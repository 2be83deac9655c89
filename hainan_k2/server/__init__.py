"""The server behind hainan-serve: transcription of uploads, live streams, and a page to try both.

It needs Starlette, uvicorn, python-multipart and websockets: `pip install hainan_k2[serve]`.
"""
