# A server for recordings and live audio, on port 8000:
#   docker build -t hainan_k2 .
#   docker run --rm -p 127.0.0.1:8000:8000 hainan_k2
# Further arguments are those of hainan-serve; models of your own: -v "$PWD/model:/model:ro" hainan_k2 --model /model
# k2 is not in it: report pages have no lattices, and methods that require k2 are refused.
FROM python:3.11-slim

# The CPU wheels of torch, without the libraries of CUDA.
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu

WORKDIR /source
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY hainan_k2 hainan_k2
RUN pip install --no-cache-dir '.[serve]'

RUN useradd --create-home server
USER server
WORKDIR /home/server
EXPOSE 8000
HEALTHCHECK --start-period=30s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["hainan-serve", "--host", "0.0.0.0"]
