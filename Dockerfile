# One image for every role; the command picks it: `node gateway/main.ts`, `node actors/main.ts --group core`, …
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The base image is Node already: the platform packages, which are optional, stay out.
RUN npm ci --omit=dev --omit=optional

FROM ${NODE_IMAGE}
WORKDIR /app
ENV NODE_ENV=production NODE_COMPILE_CACHE=/tmp/node-compile-cache
COPY --from=packages /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY proto/gen ./proto/gen
COPY platform ./platform
COPY actors ./actors
COPY gateway ./gateway
COPY cli ./cli
USER 65532:65532
EXPOSE 8080 9464
CMD ["node", "gateway/main.ts"]
