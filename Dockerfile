# The image of Mayfly: the program of a release and the C and C++ libraries of Debian below it, all pinned by their digests, no shell.
#
#   npm run release
#   docker build --build-arg TARGETARCH=amd64 --tag mayfly .
#
# BASE may be any image that has glibc 2.28 and libstdc++ 6.0.22 or newer; nothing is run in it. Without it, no registry is asked.
ARG BASE=base

FROM scratch AS base
ARG TARGETARCH
ADD dist/image/base-${TARGETARCH}.tar /

FROM ${BASE}
ARG TARGETARCH
# Also /run/mayfly and /var/lib/mayfly, which the user below may write to.
ADD dist/image/mayfly-${TARGETARCH}.tar /
ENV LD_LIBRARY_PATH=/opt/mayfly/lib
LABEL org.opencontainers.image.title=mayfly org.opencontainers.image.licenses=Apache-2.0
USER 65532:65532
ENTRYPOINT ["/usr/bin/mayfly"]
CMD ["run", "--config", "/etc/mayfly/mayfly.yaml"]
