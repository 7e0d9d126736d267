# Needs nothing but the checkout: docker build -t mandated .
FROM node:24.21.0-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY src ./src
COPY policies ./policies
RUN ln -s /app/src/mandated.mjs /usr/local/bin/mandated && chmod 755 src/mandated.mjs \
  && install -d -o node -g node -m 700 /var/lib/mandated
USER node
# Mount mandated.yaml, keys and policies here; relative paths are relative to that file.
WORKDIR /etc/mandated
VOLUME /var/lib/mandated
# Alive unless the store has failed for good. The control listener of another address: override with MANDATED_CONTROL.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch((process.env.MANDATED_CONTROL ?? 'http://127.0.0.1:9192') + '/livez').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["mandated"]
CMD ["serve", "--config", "/etc/mandated/mandated.yaml"]
