# Builds lastcall and its agent, and shows their use as an ENTRYPOINT.
#
#   docker build -t lastcall .
#   docker run --rm -e DATABASE_URL=… lastcall your-app
#
# For an image of your own, on Debian 12: the last stage's apt-get line, the COPY --from, and the ENTRYPOINT.
FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev make pkg-config libev-dev libyaml-dev libjansson-dev \
       libpq-dev libhiredis-dev libc-ares-dev libmicrohttpd-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Makefile ./
COPY include include
COPY src src
RUN make -j4 all && strip build/lastcall build/lastcall-agent

FROM debian:bookworm-slim
# What the agent is linked with. lastcall itself is one static file and needs nothing.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libpq5 libhiredis0.14 libc-ares2 libmicrohttpd12 libjansson4 libev4 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /source/build/lastcall /source/build/lastcall-agent /usr/local/bin/
# The app needs no root, and lastcall neither.
USER 65534:65534
STOPSIGNAL SIGTERM
# In the exec form: a shell in between would be PID 1. The grace period is 10 s, as `docker stop` has it; to change both:
# LASTCALL_GRACE_PERIOD and `docker stop -t`.
ENTRYPOINT ["/usr/local/bin/lastcall", "--"]
CMD ["/usr/local/bin/lastcall", "--version"]
